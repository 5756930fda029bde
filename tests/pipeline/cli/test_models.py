"""`penstock models`: a script trained, its version listed, shown and promoted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.pipeline.process import ask, run

SCRIPT = """
import random

from penstock.models import promote, publish, report
from sklearn.linear_model import LogisticRegression

draw = random.Random(3)
rows = [[draw.gauss(0, 1), draw.gauss(0, 1)] for _ in range(400)]
labels = [x + y > 0 for x, y in rows]
report("learning")
model = LogisticRegression().fit(rows[:300], labels[:300])
version = publish(model, "sums", rows[300:], labels[300:], features=["x", "y"])
promote(version)
"""


@pytest.mark.slow
def test_from_a_script_to_a_promoted_version(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    settings = {"PENSTOCK_MODELS": str(tmp_path / "registry")}
    for number in (1, 2):
        trained = run("models", "train", "train.py", folder=tmp_path, settings=settings)
        assert trained.returncode == 0, trained.stderr
        assert trained.stdout.splitlines()[0].startswith(f"published sums@{number}  ")
        assert trained.stdout.splitlines()[1] == f"sums@champion is version {number}"
        assert "learning" in trained.stderr.splitlines()
    moved = ask("models", "promote", "sums@1", "--note", "it was better", folder=tmp_path, settings=settings)
    assert moved.stdout == "sums@champion is version 1 (was version 2)\n"
    listed = ask("models", "list", folder=tmp_path, settings=settings).stdout.splitlines()
    assert [line.split()[:2] for line in listed] == [["model", "version"], ["sums", "2"], ["sums", "1"]]
    assert "champion" in listed[2]
    manifest = json.loads(ask("models", "show", "sums@champion", folder=tmp_path, settings=settings).stdout)
    assert [one["name"] for one in manifest["inputs"]] == ["x", "y"]


def test_a_script_that_publishes_nothing_failed(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("x = 1\n")
    done = run("models", "train", "train.py", folder=tmp_path, settings={"PENSTOCK_MODELS": str(tmp_path / "registry")})
    assert done.returncode == 1
    assert "published nothing" in done.stderr


def test_a_script_that_breaks_is_one_line_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("def fit():\n    raise ValueError('no data')\nfit()\n")
    done = run("models", "train", "train.py", folder=tmp_path, settings={"PENSTOCK_MODELS": str(tmp_path / "registry")})
    assert done.returncode == 2
    assert "train.py:2: ValueError: no data" in done.stderr
    assert "Traceback" not in done.stderr
