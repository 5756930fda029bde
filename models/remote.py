"""A registry in an object store, through fsspec: files are created only where there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from penstock.errors import ConfigError, Unavailable
from penstock.models.registry import MANIFEST, FileRegistry

_CLAIM = "claim"


class RemoteRegistry(FileRegistry):
    """A registry at a URL that fsspec opens: `s3://bucket/models`, `gs://...`, `memory://...`.

    Needs fsspec and the package of that store (`s3fs`, `gcsfs`, `adlfs`), with the credentials those packages read.
    An object store has no rename, so a publisher first claims a number, and the manifest, written last, is what
    makes the version exist. A publisher that dies between the two leaves a number that is never used.
    """

    def __init__(self, url: str) -> None:
        try:
            import fsspec
        except ImportError as error:
            raise ConfigError(f"{url} (PENSTOCK_MODELS) needs fsspec: pip install fsspec, or give a folder") from error
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"{url} (PENSTOCK_MODELS) cannot be opened: {error}") from error
        self.address = url

    def _check(self) -> None:
        with self._errors():
            if not self._files.exists(self._root):
                raise ConfigError(
                    f"{self.address} (PENSTOCK_MODELS) does not exist: train a model with "
                    f"`penstock models train FILE`, or set PENSTOCK_MODELS to where the models are"
                )

    def _list(self, path: str) -> list[str]:
        with self._errors():
            # Stores keep listings; another publisher's files must be seen.
            self._files.invalidate_cache()
            try:
                return [
                    str(entry).rstrip("/").rpartition("/")[2] for entry in self._files.ls(self._at(path), detail=False)
                ]
            except (FileNotFoundError, NotADirectoryError):
                return []

    def versions(self, name: str) -> list[int]:
        return [number for number in super().versions(name) if MANIFEST in self._list(f"{name}/versions/{number}")]

    def _read(self, path: str) -> bytes | None:
        with self._errors():
            try:
                content = self._files.cat_file(self._at(path))
            except FileNotFoundError:
                return None
            return bytes(content)

    def _create(self, path: str, content: bytes) -> bool:
        with self._errors():
            self._files.makedirs(self._at(path.rpartition("/")[0]), exist_ok=True)
            try:
                with self._files.open(self._at(path), "xb") as file:
                    file.write(content)
            except FileExistsError:
                return False
            return True

    def _create_folder(self, path: str, files: Mapping[str, bytes]) -> bool:
        if not self._create(f"{path}/{_CLAIM}", b""):
            return False
        for name in sorted(files, key=lambda name: name == MANIFEST):
            self._create(f"{path}/{name}", files[name])
        return True

    def _at(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}".rstrip("/")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Says of an error of the store whose it is: what it forbids is a setting's fault, the rest is an outage."""
        try:
            yield
        except PermissionError as error:
            raise ConfigError(f"{self.address} (PENSTOCK_MODELS) refuses: {error}") from error
        except ValueError as error:
            raise ConfigError(
                f"{self.address} (PENSTOCK_MODELS) cannot create files only where there is none: {error}"
            ) from error
        except OSError as error:
            raise Unavailable("models", f"{self.address}: {error}") from error
