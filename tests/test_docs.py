"""The Python of README and docs runs, each page from top to bottom as one module."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> Iterator[tuple[int, str]]:
    """The Python of a page, each block with the number of its first line."""
    text = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        yield text.count("\n", 0, found.start(1)), found[1]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that is imported as far as those are concerned who resolve annotations."""
    made = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", made)
    return made


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page: Path, module: ModuleType) -> None:
    for line, text in blocks(page):
        # Lines before it, so that what is raised names the line of the page.
        exec(compile("\n" * line + text, str(page), "exec", dont_inherit=True), vars(module))


def test_there_is_something_to_run() -> None:
    assert sum(1 for page in PAGES for _ in blocks(page)) > 10


_TEST = re.compile(r"`(tests/[a-z_/]+\.py)(?:::(\w+))?`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tests_that_a_page_names_are_there(page: Path) -> None:
    for file, name in _TEST.findall(page.read_text(encoding="utf-8")):
        path = ROOT / file
        assert path.is_file(), f"{page.name} names {file}"
        assert f"def {name}(" in path.read_text(encoding="utf-8") or not name, f"{page.name} names {file}::{name}"
