"""Where a training script publishes to, where it is not told."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.models import open_registry
from penstock.models.script import current, running


def test_without_a_setting_models_are_in_the_projects_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PENSTOCK_MODELS", raising=False)
    assert current().open(None).address == ".penstock/models"


def test_the_setting_the_command_and_the_call_say_it_in_this_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_MODELS", str(tmp_path / "setting"))
    assert current().open(None).address == str(tmp_path / "setting")
    with running(str(tmp_path / "command")):
        assert current().open(None).address == str(tmp_path / "command")
        assert current().open(str(tmp_path / "call")).address == str(tmp_path / "call")
        registry = open_registry(str(tmp_path / "object"))
        assert current().open(registry) is registry
    assert current().open(None).address == str(tmp_path / "setting")
