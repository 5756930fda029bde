"""mypy and pyright accept what is right and refuse what is wrong, at the lines that say so (`# error`)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
ACCEPTED = sorted(HERE.glob("accepted/*.py"))
REFUSED = sorted(HERE.glob("refused/[a-z]*.py"))

Lines = dict[Path, dict[int, str]]
"""What a checker says, by file and line."""


def run(*command: str) -> str:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def mypy(*files: Path) -> Lines:
    said = run("mypy", "--strict", "--config-file=", "--output=json", *map(str, files))
    found: Lines = {}
    for line in said.splitlines():
        one = json.loads(line)
        if one["severity"] == "error":
            found.setdefault(ROOT / one["file"], {})[one["line"]] = one["message"]
    return found


def pyright(*files: Path) -> Lines:
    # In a project of their own: the repository's settings leave out what must be refused.
    said = json.loads(run("pyright", "--project", str(HERE), "--pythonpath", sys.executable, "--outputjson"))
    assert said["summary"]["filesAnalyzed"] >= len(files)
    found: Lines = {}
    for one in said["generalDiagnostics"]:
        if one["severity"] == "error":
            found.setdefault(Path(one["file"]), {})[one["range"]["start"]["line"] + 1] = one["message"]
    return found


@pytest.fixture(scope="module", params=[mypy, pyright])
def found(request: pytest.FixtureRequest) -> Lines:
    """What one checker says about all programs."""
    check: Callable[..., Lines] = request.param
    return check(*ACCEPTED, *REFUSED)


pytestmark = pytest.mark.slow


@pytest.mark.parametrize("file", ACCEPTED, ids=lambda file: file.stem)
def test_what_is_right_is_accepted(found: Lines, file: Path) -> None:
    assert found.get(file, {}) == {}


@pytest.mark.parametrize("file", REFUSED, ids=lambda file: file.stem)
def test_what_is_wrong_is_refused_where_it_stands(found: Lines, file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    expected = {number for number, line in enumerate(lines, 1) if line.endswith("# error")}
    said = found.get(file, {})
    assert {number: said[number] for number in said.keys() - expected} == {}
    assert expected - said.keys() == set()


def test_only_the_programs_are_complained_about(found: Lines) -> None:
    assert found.keys() <= {*ACCEPTED, *REFUSED}
