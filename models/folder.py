"""A registry in a folder: versions appear by a rename, entries of an alias by a hard link."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISDIR
from uuid import uuid4

from penstock.errors import ConfigError, Unavailable
from penstock.models.registry import FileRegistry

_TAKEN = {errno.EEXIST, errno.ENOTEMPTY}
_MISTAKES = {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


class FolderRegistry(FileRegistry):
    """A registry in a folder of this machine, or of a mounted file system.

    A folder that is not there, or may not be read, is a mistake in `PENSTOCK_MODELS` (`ConfigError`): waiting would
    not mend it. A mounted folder that stops answering (input/output error, stale handle) is `Unavailable`.
    Publishing makes the folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.root = Path(path)
        self.address = str(self.root)

    def _check(self) -> None:
        with self._errors():
            try:
                found = S_ISDIR(self.root.stat().st_mode)
            except (FileNotFoundError, NotADirectoryError):
                found = False
            if not found:
                raise ConfigError(
                    f"{self.address} (PENSTOCK_MODELS) is no folder: train a model with `penstock models train FILE`, "
                    f"or set PENSTOCK_MODELS to where the models are"
                )

    def _list(self, path: str) -> list[str]:
        with self._errors():
            try:
                return [entry.name for entry in (self.root / path).iterdir() if not entry.name.startswith(".")]
            except (FileNotFoundError, NotADirectoryError):
                return []

    def _read(self, path: str) -> bytes | None:
        with self._errors():
            try:
                return (self.root / path).read_bytes()
            except FileNotFoundError:
                return None

    def _create(self, path: str, content: bytes) -> bool:
        with self._errors():
            target = self.root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            draft = target.parent / f".{uuid4().hex}"
            try:
                _write(draft, content)
                _link(draft, target)
            except FileExistsError:
                return False
            finally:
                draft.unlink(missing_ok=True)
            _sync(target.parent)
            return True

    def _create_folder(self, path: str, files: Mapping[str, bytes]) -> bool:
        with self._errors():
            target = self.root / path
            draft = target.parent / f".{uuid4().hex}"
            draft.mkdir(parents=True)
            try:
                for name, content in files.items():
                    _write(draft / name, content)
                _sync(draft)
                # A rename onto a folder that holds something fails, so the first of two publishers keeps the number.
                draft.rename(target)
            except OSError as error:
                _remove(draft)
                if error.errno in _TAKEN:
                    return False
                raise
            _sync(target.parent)
            return True

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Says of an error of the file system whose it is."""
        try:
            yield
        except OSError as error:
            what = f"{error.filename or self.address}: {error.strerror or error}"
            if error.errno in _MISTAKES:
                raise ConfigError(f"the registry {self.address} (PENSTOCK_MODELS) cannot be used: {what}") from error
            raise Unavailable("models", what) from error


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _link(draft: Path, target: Path) -> None:
    """Show a whole file under its name, unless the name is taken (`FileExistsError`)."""
    try:
        os.link(draft, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Some mounted file systems know no hard links; a reader may then see an entry while it is being written.
        _write(target, draft.read_bytes())


def _sync(folder: Path) -> None:
    """Put a folder's names on disk, where the platform lets a folder be opened."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
