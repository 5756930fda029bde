"""Finding the values of keys in a store, whatever form they are kept in there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args, get_origin

from penstock.connectors import Store
from penstock.stages.row import ABSENT, Bad, Mapped, Record, fields, json_reader


class Finder:
    """Reads the values of many keys as one type.

    A Struct, dataclass, pydantic model or `dict[str, V]` may be kept as a hash or as a JSON string; keys of both forms
    may lie side by side. The form that most keys had the last time is asked for first, so that in practice each
    question is one command. Every other type is a JSON string.
    """

    def __init__(self, kind: Any, store: Store) -> None:
        self._store = store
        self._json = json_reader(kind)
        self._record: Record[Any] | None = Record(kind) if fields(kind) else None
        self._mapped: Mapped[Any] | None = None
        if self._record is None and (kind is dict or get_origin(kind) is dict):
            self._mapped = Mapped((*get_args(kind), str)[1] if get_args(kind) else Any)
        self._hashes_first = self._hashed = self._record is not None or self._mapped is not None

    async def find(self, keys: Sequence[str]) -> tuple[list[Any], bool]:
        """For each key its value, `ABSENT` or `Bad`, and whether all are known to be values. Raises `Unavailable`."""
        if not self._hashed:
            return await self._strings_alone(keys), False
        if self._hashes_first:
            values, fine = await self._hashes(keys)
            if fine:
                return values, True
            left = [at for at, value in enumerate(values) if value is None]
            found = await self._strings([keys[at] for at in left]) if left else []
        else:
            values = await self._strings(keys)
            left = [at for at, value in enumerate(values) if value is ABSENT]
            found = (await self._hashes([keys[at] for at in left]))[0] if left else []
        neither = ABSENT if self._hashes_first else None
        for at, value in zip(left, found, strict=True):
            values[at] = Bad(f"{keys[at]} holds neither a hash nor a string") if value is neither else value
        if 2 * sum(value is not ABSENT for value in found) > len(keys):
            self._hashes_first = not self._hashes_first
        return values, False

    async def _hashes(self, keys: Sequence[str]) -> tuple[list[Any], bool]:
        """None stands for a key that is no hash."""
        if self._record is not None:
            rows = await self._store.read_hashes(keys, self._record.names)
            regular = self._record.read_many(rows)
            return (self._read(keys, rows, self._record.read), False) if regular is None else (regular, True)
        assert self._mapped is not None
        return self._read(keys, await self._store.read_maps(keys), self._mapped.read), False

    def _read(self, keys: Sequence[str], rows: Sequence[Any], read: Callable[[Any], Any]) -> list[Any]:
        values: list[Any] = []
        for key, row in zip(keys, rows, strict=True):
            try:
                values.append(None if row is None else read(row))
            except ValueError as error:
                values.append(Bad(f"{key}: {error}"))
        return values

    async def _strings(self, keys: Sequence[str]) -> list[Any]:
        values: list[Any] = []
        for key, text in zip(keys, await self._store.read(keys), strict=True):
            try:
                values.append(ABSENT if text is None else self._json(text))
            except Exception as error:
                # msgspec and pydantic have no error in common.
                values.append(Bad(f"{key} is not the JSON of its type: {error}"))
        return values

    async def _strings_alone(self, keys: Sequence[str]) -> list[Any]:
        """A key that holds something else reads as if it were missing; it must not pass for that."""
        values = await self._strings(keys)
        left = [at for at, value in enumerate(values) if value is ABSENT]
        wholes = await self._store.read_maps([keys[at] for at in left]) if left else []
        for at, whole in zip(left, wholes, strict=True):
            if whole != {}:
                values[at] = Bad(f"{keys[at]} holds something else than a string")
        return values
