"""The registry in a folder, and what can be wrong with it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from penstock.errors import ConfigError, Unavailable
from penstock.models import open_registry
from penstock.models.folder import FolderRegistry
from penstock.models.registry import MANIFEST, MODEL
from tests.models.registry_contract import RegistryContract, manifest


class TestFolder(RegistryContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return str(tmp_path)


class TestFileUrl(RegistryContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"file://{tmp_path}"


def test_a_folder_that_is_not_there_is_a_wrong_setting(tmp_path: Path) -> None:
    registry = open_registry(str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"nowhere \(PENSTOCK_MODELS\) is no folder: train a model"):
        registry.resolve("fraud@champion")
    with pytest.raises(ConfigError, match="is no folder"):
        registry.names()


def test_publishing_makes_the_folder(tmp_path: Path) -> None:
    registry = open_registry(str(tmp_path / "new" / "models"))
    registry.publish(manifest(), {MODEL: b"x"})
    assert registry.names() == ["fraud"]


def test_others_can_read_what_one_user_published(tmp_path: Path) -> None:
    open_registry(str(tmp_path)).publish(manifest(), {MODEL: b"x"})
    version = tmp_path / "fraud" / "versions" / "1"
    assert version.stat().st_mode & 0o005 == 0o005
    assert (version / MODEL).stat().st_mode & 0o004


def test_a_folder_that_cannot_be_made_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ConfigError, match="cannot be used"):
        open_registry(str(tmp_path / "file" / "models")).publish(manifest(), {MODEL: b"x"})


def test_a_mounted_folder_that_stops_answering_is_an_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = FolderRegistry(tmp_path)
    registry.publish(manifest(), {MODEL: b"x"})

    def stale(path: Path) -> bytes:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))

    monkeypatch.setattr(Path, "read_bytes", stale)
    with pytest.raises(Unavailable, match=r"models: .*Stale file handle") as caught:
        registry.resolve("fraud@1")
    assert caught.value.dependency == "models"


def test_a_file_system_without_hard_links_has_aliases_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    registry = FolderRegistry(tmp_path)
    version = registry.publish(manifest(), {MODEL: b"x"})
    registry.promote(version, "champion")
    registry.promote(version, "champion")
    assert len(registry.history("fraud", "champion")) == 2


def test_a_changed_model_is_refused(tmp_path: Path) -> None:
    registry = open_registry(str(tmp_path))
    version = registry.publish(manifest(), {MODEL: b"x"})
    (tmp_path / "fraud" / "versions" / "1" / MODEL).write_bytes(b"y")
    with pytest.raises(ConfigError, match=r"fraud@1 in .*: model.onnx is not the file that was published"):
        registry.read(version)
    (tmp_path / "fraud" / "versions" / "1" / MODEL).unlink()
    with pytest.raises(ConfigError, match=r"model.onnx is missing"):
        registry.read(version)


def test_a_changed_manifest_is_refused_through_its_alias(tmp_path: Path) -> None:
    registry = open_registry(str(tmp_path))
    registry.promote(registry.publish(manifest(), {MODEL: b"x"}), "champion")
    file = tmp_path / "fraud" / "versions" / "1" / MANIFEST
    file.write_text(file.read_text().replace('"threshold": 0.5', '"threshold": 0.1'))
    with pytest.raises(ConfigError, match=r"manifest.json changed after 'champion' was moved to it"):
        registry.resolve("fraud@champion")


@pytest.mark.parametrize(("content", "message"), [("{", "cannot be read"), ('"format": 1', '"format": 9')])
def test_a_manifest_that_cannot_be_understood_is_refused(tmp_path: Path, content: str, message: str) -> None:
    registry = open_registry(str(tmp_path))
    registry.publish(manifest(), {MODEL: b"x"})
    file = tmp_path / "fraud" / "versions" / "1" / MANIFEST
    if content == "{":
        file.write_text("{")
    else:
        file.write_text(file.read_text().replace(content, message))
        message = "has format 9, this release reads up to 1; upgrade penstock"
    with pytest.raises(ConfigError, match=message):
        registry.resolve("fraud@1")


def test_a_publisher_that_died_leaves_nothing_to_be_seen(tmp_path: Path) -> None:
    registry = open_registry(str(tmp_path))
    registry.publish(manifest(), {MODEL: b"x"})
    draft = tmp_path / "fraud" / "versions" / ".0123"
    draft.mkdir()
    (draft / MODEL).write_bytes(b"half")
    assert registry.versions("fraud") == [1]
    assert registry.publish(manifest(), {MODEL: b"y"}).number == 2


def test_an_address_is_needed() -> None:
    with pytest.raises(ConfigError, match="PENSTOCK_MODELS is empty"):
        open_registry("")
