"""Finding the pipeline that a command names."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.errors import ConfigError, DeclarationError
from penstock.pipeline.serving.app import build, load, run_script
from tests.pipeline.process import http_app

PIPELINE = """
from penstock import Pipeline
from penstock.connectors import Kafka

def same(text: str) -> str:
    return text

NAME = Pipeline("NAME")
NAME.source(Kafka("in"), schema=str).act(same, to=Kafka("out"))
"""


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules and import path as they were before the test."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def written(folder: Path, path: str, text: str) -> Path:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_a_file_with_one_pipeline(tmp_path: Path) -> None:
    assert load(str(tmp_path / http_app(tmp_path, "unique1"))).name == "unique1"


def test_a_file_of_a_package_imports_its_siblings(tmp_path: Path) -> None:
    written(tmp_path, "shop2/__init__.py", "")
    written(tmp_path, "shop2/parts/__init__.py", "")
    written(tmp_path, "shop2/names.py", "NAME = 'relative'\n")
    app = written(
        tmp_path,
        "shop2/parts/app.py",
        "from penstock import Pipeline\nfrom ..names import NAME\none = Pipeline(NAME)\n",
    )
    assert load(str(app)).name == "relative"


def test_relative_imports_work_without_an_init_file(tmp_path: Path) -> None:
    written(tmp_path, "bare3/names.py", "NAME = 'bare'\n")
    app = written(
        tmp_path, "bare3/app.py", "from penstock import Pipeline\nfrom .names import NAME\none = Pipeline(NAME)\n"
    )
    assert load(str(app)).name == "bare"


def test_a_name_after_the_colon(tmp_path: Path) -> None:
    file = written(tmp_path, "two4.py", PIPELINE.replace("NAME", "one") + PIPELINE.replace("NAME", "other"))
    assert load(f"{file}:other").name == "other"
    with pytest.raises(ConfigError, match=r"two4.py has several pipelines: write .*two4.py:one or .*two4.py:other"):
        load(str(file))
    with pytest.raises(ConfigError, match=r"two4.py has no 'third': write .*two4.py:one"):
        load(f"{file}:third")


def test_a_module_and_a_factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "mod5.py", PIPELINE.replace("NAME", "made") + "\ndef make():\n    return made\nnumber = 5\n")
    monkeypatch.chdir(tmp_path)
    assert load("mod5:make") is load("mod5") is load("mod5:made")
    with pytest.raises(ConfigError, match="mod5:number is a int, not a Pipeline"):
        load("mod5:number")


def test_two_files_of_one_name_are_two_apps(tmp_path: Path) -> None:
    first = written(tmp_path, "a6/app6.py", PIPELINE.replace("NAME", "first"))
    second = written(tmp_path, "b6/app6.py", PIPELINE.replace("NAME", "second"))
    assert [graph.name for graph in build([str(first), str(second)])] == ["first", "second"]


def test_two_pipelines_of_one_name_are_refused(tmp_path: Path) -> None:
    first = written(tmp_path, "a7/app7.py", PIPELINE.replace("NAME", "twin"))
    second = written(tmp_path, "b7/app7.py", PIPELINE.replace("NAME", "twin"))
    with pytest.raises(ConfigError, match="another app is called 'twin' too"):
        build([str(first), str(second)])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_of_that_name\n", r"app8.py:1: ModuleNotFoundError: No module named .*; is it installed for /"),
        ("import beside8\nfrom . import other\n", r"No module named 'beside8': did you mean '.beside8'\?"),
        (
            "from penstock.connectors import Kakfa\n",
            r"app8.py:1: ImportError: cannot import .*: did you mean 'Kafka'\?",
        ),
        ("import penstock\npenstock.Pipelin\n", r"app8.py:2: AttributeError: .*: did you mean 'Pipeline'\?"),
        ("def price(): ...\npirce()\n", r"app8.py:2: NameError: .*: did you mean 'price'\?"),
        ("this_is_like_nothing\n", r"app8.py:1: NameError: name 'this_is_like_nothing' is not defined$"),
        ("\nthis is no Python\n", r"app8.py:2: SyntaxError"),
        ("def f():\n    return 1 / 0\nf()\n", r"app8.py:2: ZeroDivisionError"),
        ("x = 1\n", r"app8.py has no Pipeline"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    written(tmp_path, "in8/beside8.py", "")
    app = str(written(tmp_path, "in8/app8.py", text))
    with pytest.raises(ConfigError, match=said) as caught:
        load(app)
    assert "\n" not in str(caught.value)


def test_a_wrong_declaration_stays_one(tmp_path: Path) -> None:
    file = written(tmp_path, "app9.py", "from penstock import Pipeline\nPipeline('x')\none = Pipeline('no source')\n")
    with pytest.raises(DeclarationError):
        build([str(file)])


@pytest.mark.parametrize("app", ["nowhere.py", "nowhere.app", "nowhere:app"])
def test_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, app: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"there is no (file|module)"):
        load(app)


def test_where_it_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "shop11/__init__.py", "")
    written(tmp_path, "shop11/app.py", PIPELINE.replace("NAME", "one"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=rf"there is no file app.py in {tmp_path}: did you mean shop11/app.py\?"):
        load("app.py")
    with pytest.raises(ConfigError, match=r"shop11 is a package: write shop11\.app, or"):
        load("shop11")


def test_a_script_runs_as_a_program_of_its_package(tmp_path: Path) -> None:
    written(tmp_path, "tool10/__init__.py", "")
    written(tmp_path, "tool10/names.py", "NAME = 'ran'\n")
    script = written(
        tmp_path,
        "tool10/job.py",
        "from pathlib import Path\nfrom .names import NAME\n"
        "if __name__ == '__main__':\n    (Path(__file__).parent / 'done').write_text(NAME)\n",
    )
    run_script(script)
    assert (tmp_path / "tool10/done").read_text() == "ran"
