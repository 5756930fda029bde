"""`penstock new`: a package to begin with, which runs and whose test passes."""

from __future__ import annotations

import keyword
from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example: penstock new press-shop && cd press_shop && penstock dev app.py"

PACKAGE = Path(__file__).parent / "package"
SUFFIX = ".in"
"""The files of the new package end so here, that no tool takes them for modules of this one."""

PACKAGE_WORD, NAME_WORD = "@PACKAGE@", "@NAME@"


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The pipeline's name; the folder is called like it.")],
) -> None:
    """Make a package: app.py (the wiring), events.py, functions.py, train.py, tests, settings, compose.yaml, README."""
    package = name.replace("-", "_").replace(".", "_")
    if not package.isidentifier() or keyword.iskeyword(package) or package != package.lower():
        raise typer.BadParameter(
            f"{name!r} cannot name a package: use small letters, digits and '-'", param_hint="NAME"
        )
    folder = Path(package)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise typer.BadParameter(f"{folder} is there already, and is not empty", param_hint="NAME")
    for file in sorted(PACKAGE.rglob(f"*{SUFFIX}")):
        target = folder / str(file.relative_to(PACKAGE)).removesuffix(SUFFIX).replace("dot.", ".")
        target.parent.mkdir(parents=True, exist_ok=True)
        text = file.read_text(encoding="utf-8")
        target.write_text(text.replace(PACKAGE_WORD, package).replace(NAME_WORD, name), encoding="utf-8")
    typer.echo(f"{folder}/ is there. Next:\n")
    for command, what in (
        (f"cd {package}", ""),
        ("penstock dev app.py", "trains the model once, then runs with everything embedded"),
        ("python -m pytest", "tests the functions, the wiring and the pipeline (pip install pytest)"),
        ("penstock graph app.py", "shows what is connected to what"),
    ):
        typer.echo(f"  {command:<24}{what}".rstrip())
