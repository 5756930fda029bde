"""`penstock new`: the package it makes runs, and its test passes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.process import Running, ask, environment, post, run


@pytest.mark.slow
def test_the_package_passes_its_tests_trains_and_runs(tmp_path: Path) -> None:
    made = ask("new", "press-shop", folder=tmp_path)
    assert made.returncode == 0
    folder = tmp_path / "press_shop"
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"app.py", "events.py", "functions.py", "train.py", "tests/test_app.py", ".env.example"} <= names
    assert {"compose.yaml", "README.md", "Dockerfile", ".gitignore"} <= names
    texts = [path.read_text() for path in folder.rglob("*") if path.is_file()]
    assert not any("@NAME@@" in text or "@PACKAGE@" in text for text in texts)

    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert tests.returncode == 0, tests.stdout

    with Running("dev", "app.py", folder=folder) as dev:
        dev.says("Try, in another terminal")
        assert "published press-shop@1" in dev.text
        reading = {"id": "r1", "machine": "m1", "temperature": 120, "vibration": 9}
        status, body = post(dev.url("/readings"), json.dumps(reading))
        assert (status, json.loads(body)["state"], json.loads(body)["model"]) == (200, "failing", "press-shop@1")
        tail = run("tail", "kafka:alarms", "--earliest", "-n", "1", folder=folder)
        assert json.loads(tail.stdout)["machine"] == "m1"
        assert dev.stop() == 0


@pytest.mark.parametrize("name", ["Press", "7up", "class", "a/b"])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    done = ask("new", name, folder=tmp_path)
    assert done.returncode == 2
    assert "cannot name a package" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "mine").touch()
    assert ask("new", "shop", folder=tmp_path).returncode == 2
    assert [path.name for path in (tmp_path / "shop").iterdir()] == ["mine"]
