"""Where the commands of one folder find their servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.connectors import Kafka
from penstock.errors import ConfigError
from penstock.pipeline.serving import local
from penstock.pipeline.serving.local import Local


@pytest.fixture
def developed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which `penstock dev` ran once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PENSTOCK_KAFKA", raising=False)
    local.write({local.EMBEDDED: f"unix://{tmp_path}/valkey.sock"})
    return tmp_path


def test_what_has_an_address_needs_no_embedded_server(developed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_KAFKA", "127.0.0.1:9")
    assert Local("kafka:decisions", starting=False).endpoint("kafka:decisions") == Kafka("decisions")


def test_what_has_none_asks_for_the_embedded_one(developed: Path) -> None:
    with pytest.raises(ConfigError, match="`penstock dev` does not run in this folder"):
        Local("kafka:decisions", starting=False)
