"""Print what some extras of pyproject.toml ask for, one requirement a line, without penstock itself.

    python requirements.py kafka http

An image installs these before the code is copied in, so that a changed line of code costs no download.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

PROJECT = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements(extra: str) -> Iterator[str]:
    """What an extra asks for, following the extras that it names."""
    for line in PROJECT["optional-dependencies"][extra]:
        if named := re.fullmatch(r"penstock\[(.+)]", line):
            for other in named[1].split(","):
                yield from requirements(other.strip())
        else:
            yield line


if __name__ == "__main__":
    lines = [*PROJECT["dependencies"], *(line for extra in sys.argv[1:] for line in requirements(extra))]
    print("\n".join(dict.fromkeys(lines)))
