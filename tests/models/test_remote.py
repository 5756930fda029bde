"""The registry through fsspec."""

from __future__ import annotations

import sys
from pathlib import Path
from uuid import uuid4

import pytest

from penstock.errors import ConfigError
from penstock.models import open_registry
from penstock.models.registry import MODEL
from tests.models.registry_contract import RegistryContract, manifest

fsspec = pytest.importorskip("fsspec")


class TestRemote(RegistryContract):
    """Through fsspec, on a folder: `local://` is its own name for one."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"local://{tmp_path}"


def test_a_version_without_a_manifest_is_not_there_and_its_number_is_not_used_again() -> None:
    url = f"memory://{uuid4().hex}"
    registry = open_registry(url)
    registry.publish(manifest(), {MODEL: b"x"})
    files, root = fsspec.core.url_to_fs(url)
    files.pipe(f"{root}/fraud/versions/2/claim", b"")
    files.pipe(f"{root}/fraud/versions/2/{MODEL}", b"half")
    assert registry.versions("fraud") == [1]
    assert registry.publish(manifest(), {MODEL: b"y"}).number == 3
    assert registry.versions("fraud") == [1, 3]


def test_a_place_that_is_not_there_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match=r"does not exist: train a model"):
        open_registry(f"memory://{uuid4().hex}").resolve("fraud@1")


def test_an_unknown_scheme_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match=r"carrier-pigeon://models \(PENSTOCK_MODELS\) cannot be opened"):
        open_registry("carrier-pigeon://models")


def test_without_fsspec_a_folder_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ConfigError, match=r"needs fsspec: pip install fsspec, or give a folder"):
        open_registry("s3://bucket/models")
