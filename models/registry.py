"""Where versions live: a folder or an object store that only ever gains files.

    card-fraud/versions/3/manifest.json, model.onnx      never changed once it is there
    card-fraud/aliases/champion/7.json                   the seventh move of the alias; the last one counts

A version appears whole or not at all, and two publishers at once get two numbers. Moving an alias appends to its
log, so the log is its history, and going back is one more entry.
"""

from __future__ import annotations

import getpass
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

import msgspec

from penstock.errors import ConfigError
from penstock.models.manifest import Manifest, Version, check_digests, decode_manifest, digest

MANIFEST = "manifest.json"
MODEL = "model.onnx"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Move(msgspec.Struct, frozen=True):
    """One entry of an alias's log: which version it was set to, when, by whom, and why.

    `manifest` is the digest of that version's manifest, so that an alias vouches for all that it leads to.
    """

    version: int
    manifest: str
    at: str
    by: str = ""
    note: str = ""


@runtime_checkable
class Registry(Protocol):
    """Published models. All calls block: they are made at start, offline, or from a thread.

    Raises `ConfigError` for what is not there or cannot be right (with what is there instead), and `Unavailable`
    where the place itself does not answer now.
    """

    address: str

    def names(self) -> list[str]:
        """The models that have a version, sorted."""
        ...

    def versions(self, name: str) -> list[int]:
        """The numbers of a model's versions, ascending; empty where there is no such model."""
        ...

    def aliases(self, name: str) -> dict[str, int]:
        """Each alias of a model and the version it leads to."""
        ...

    def history(self, name: str, alias: str) -> list[Move]:
        """Every move of an alias, oldest first; empty where there is no such alias."""
        ...

    def resolve(self, ref: str) -> Version:
        """The version that `name@alias` or `name@3` leads to."""
        ...

    def read(self, version: Version, file: str = MODEL) -> bytes:
        """One file of a version, checked against its digest."""
        ...

    def publish(self, manifest: Manifest, files: Mapping[str, bytes]) -> Version:
        """Store a new version. Its number and the digests of its files are filled in."""
        ...

    def promote(self, version: Version, alias: str, *, note: str = "") -> Move:
        """Move an alias to a version."""
        ...


class FileRegistry:
    """A registry over five operations on files, which is all that a place must offer."""

    address: str

    def _list(self, path: str) -> list[str]:
        """Names in a folder; none where it is not there."""
        raise NotImplementedError

    def _read(self, path: str) -> bytes | None:
        """A file's content; None where it is not there."""
        raise NotImplementedError

    def _create(self, path: str, content: bytes) -> bool:
        """Make a file whole, unless there is one: then False."""
        raise NotImplementedError

    def _create_folder(self, path: str, files: Mapping[str, bytes]) -> bool:
        """Make a folder with these files, whole, unless there is one: then False."""
        raise NotImplementedError

    def _check(self) -> None:
        """Raise `ConfigError` or `Unavailable` where the place itself cannot be read."""
        raise NotImplementedError

    def names(self) -> list[str]:
        self._check()
        return sorted(name for name in self._list("") if _NAME.fullmatch(name) and self.versions(name))

    def versions(self, name: str) -> list[int]:
        return sorted(int(entry) for entry in self._list(f"{name}/versions") if entry.isdigit())

    def aliases(self, name: str) -> dict[str, int]:
        moves = {alias: self._last_move(name, alias) for alias in sorted(self._list(f"{name}/aliases"))}
        return {alias: move.version for alias, move in moves.items() if move is not None}

    def history(self, name: str, alias: str) -> list[Move]:
        moves = [self._move(name, alias, number) for number in self._moves(name, alias)]
        return [move for move in moves if move is not None]

    def resolve(self, ref: str) -> Version:
        name, _, which = ref.partition("@")
        if not which or not _NAME.fullmatch(name):
            raise ConfigError(
                f"{ref!r} names no model: write name@alias or name@number, for example card-fraud@champion"
            )
        self._check()
        numbers = self.versions(name)
        if not numbers:
            raise ConfigError(
                f"there is no model {name!r} in {self.address} (PENSTOCK_MODELS); {self._what_is_there()}"
            )
        move = None if which.isdigit() else self._last_move(name, which)
        number = int(which) if which.isdigit() else (move.version if move else 0)
        if number not in numbers:
            raise ConfigError(f"{ref} is not in {self.address}; {self._what_a_model_has(name, numbers)}")
        where = f"{name}@{number} in {self.address}"
        content = self._read(f"{name}/versions/{number}/{MANIFEST}")
        if content is None:
            raise ConfigError(f"{where}: {MANIFEST} is missing; publish the model again, or use another version")
        if move is not None and move.manifest != digest(content):
            raise ConfigError(f"{where}: {MANIFEST} changed after {which!r} was moved to it; publish the model again")
        return Version(name, number, decode_manifest(content, where))

    def read(self, version: Version, file: str = MODEL) -> bytes:
        where = f"{version} in {self.address}"
        content = self._read(f"{version.name}/versions/{version.number}/{file}")
        if content is None or file not in version.manifest.files:
            raise ConfigError(f"{where}: {file} is missing; publish the model again, or use another version")
        check_digests({file: content}, version.manifest, where)
        return content

    def publish(self, manifest: Manifest, files: Mapping[str, bytes]) -> Version:
        name = manifest.name
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r} cannot name a model: use letters, digits, '-', '_' and '.', for example card-fraud"
            )
        manifest = msgspec.structs.replace(
            manifest, created=_now(), files={file: digest(content) for file, content in files.items()}
        )
        everything = {**files, MANIFEST: manifest.encode()}
        number = max(self.versions(name), default=0) + 1
        while not self._create_folder(f"{name}/versions/{number}", everything):
            number += 1
        return Version(name, number, manifest)

    def promote(self, version: Version, alias: str, *, note: str = "") -> Move:
        if not _NAME.fullmatch(alias) or alias.isdigit():
            raise ConfigError(f"{alias!r} cannot be an alias: use a word, for example champion")
        self._check()
        content = self._read(f"{version.name}/versions/{version.number}/{MANIFEST}")
        if content is None:
            raise ConfigError(f"{version} is not in {self.address}; {self._what_is_there()}")
        move = Move(version.number, digest(content), _now(), _user(), note)
        number = max(self._moves(version.name, alias), default=0) + 1
        while not self._create(f"{version.name}/aliases/{alias}/{number}.json", msgspec.json.encode(move) + b"\n"):
            number += 1
        return move

    def _moves(self, name: str, alias: str) -> list[int]:
        entries = [entry.removesuffix(".json") for entry in self._list(f"{name}/aliases/{alias}")]
        return sorted(int(entry) for entry in entries if entry.isdigit())

    def _move(self, name: str, alias: str, number: int) -> Move | None:
        path = f"{name}/aliases/{alias}/{number}.json"
        content = self._read(path)
        if content is None:
            return None
        try:
            return msgspec.json.decode(content, type=Move)
        except msgspec.MsgspecError as error:
            raise ConfigError(f"{path} in {self.address} cannot be read ({error}); move the alias again") from error

    def _last_move(self, name: str, alias: str) -> Move | None:
        numbers = self._moves(name, alias)
        return self._move(name, alias, numbers[-1]) if numbers else None

    def _what_is_there(self) -> str:
        names = self.names()
        return f"there is {_listed(names)}" if names else "it is empty: train a model with `penstock models train FILE`"

    def _what_a_model_has(self, name: str, numbers: Sequence[int]) -> str:
        aliases = [f"{alias} (version {number})" for alias, number in self.aliases(name).items()]
        if not aliases:
            return (
                f"it has the versions {_listed(numbers)} and no alias: `penstock models promote {name}@{numbers[-1]}`"
            )
        return f"it has the versions {_listed(numbers)} and the aliases {_listed(aliases)}"


def open_registry(url: str) -> Registry:
    """The registry at a folder's path, a `file://` URL, or any URL that fsspec knows (`s3://bucket/models`).

    >>> open_registry("/srv/models").address
    '/srv/models'
    """
    scheme, separator, rest = url.partition("://")
    if not url:
        raise ConfigError("PENSTOCK_MODELS is empty: give a folder, for example .penstock/models")
    if not separator or scheme == "file":
        from penstock.models.folder import FolderRegistry

        return FolderRegistry(rest if separator else url)
    from penstock.models.remote import RemoteRegistry

    return RemoteRegistry(url)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


def _listed(items: Sequence[object], most: int = 20) -> str:
    shown = ", ".join(str(item) for item in items[-most:])
    return shown if len(items) <= most else f"{shown} and {len(items) - most} older"
