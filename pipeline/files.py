"""Files that are there whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from penstock.errors import ConfigError


def whole(path: Path, lines: Iterable[bytes]) -> None:
    """Write a file and its name to the disk. Raises `ConfigError` where that is not possible."""
    draft = path.with_name(f"{path.name}.new")
    try:
        with draft.open("wb") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from None
