"""The store inside the process: for the harness and for tests, on a clock that they move."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from penstock.connectors.store.command import encoded
from penstock.connectors.store.durability import Durability
from penstock.connectors.store.guard import VERSION, Swap
from penstock.connectors.store.reply import ReplyError

Log: TypeAlias = list[tuple[int, dict[str, bytes]]]


class MemoryStore:
    """`Store` in a dict: what a server would answer, and nothing kept beyond the process.

    `clock` tells seconds; keys with a `ttl` expire by it.

    >>> import asyncio
    >>> store = MemoryStore()
    >>> asyncio.run(store.write_hash("card:7", {"mean": 41.5}))
    >>> asyncio.run(store.read_hashes(["card:7"], ["mean", "limit"]))
    [[b'41.5', None]]
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.problem: str | None = None
        self.server = "memory"
        self._clock = clock
        self._keys: dict[str, bytes | dict[bytes, bytes] | Log] = {}
        self._expiry: dict[str, float] = {}
        self._ids: dict[str, dict[str, str]] = {}
        self._last = 0

    def clock(self) -> float:
        return self._clock()

    def second(self) -> int:
        return int(self._clock())

    async def durability(self) -> Durability:
        """It lives as long as whoever could miss anything."""
        return Durability("disk", "in the process")

    async def open(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """What is kept stays, so that a pipeline can be started again on it."""

    async def read(self, keys: Sequence[str]) -> list[bytes | None]:
        found = (self._get(key) for key in keys)
        return [value if isinstance(value, bytes) else None for value in found]

    async def read_hashes(self, keys: Sequence[str], fields: Sequence[str]) -> list[list[bytes | None] | None]:
        names = [field.encode() for field in fields]
        found = await self.read_maps(keys)
        return [None if values is None else [values.get(name) for name in names] for values in found]

    async def read_maps(self, keys: Sequence[str]) -> list[dict[bytes, bytes] | None]:
        found = [self._get(key) for key in keys]
        return [{} if values is None else dict(values) if isinstance(values, dict) else None for values in found]

    async def write(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        self._keys[key] = value
        self._expiry.pop(key, None)
        if ttl is not None:
            self._expiry[key] = self.clock() + ttl

    async def write_many(self, wanted: Sequence[tuple[str, bytes, float]]) -> None:
        for key, value, ttl in wanted:
            await self.write(key, value, ttl=ttl)

    async def settle(self, key: str, value: bytes, ttl: float) -> bytes | None:
        found = self._get(key)
        if found is None:
            await self.write(key, value, ttl=ttl)
        elif not isinstance(found, bytes):
            raise _wrong(key)
        return found

    async def settle_many(self, wanted: Sequence[tuple[str, bytes, float]]) -> list[bytes | None]:
        return [await self.settle(key, value, ttl) for key, value, ttl in wanted]

    async def write_hash(self, key: str, values: Mapping[str, bytes | str | int | float]) -> None:
        kept = self._get(key)
        if kept is None and values:
            kept = self._keys[key] = {}
        if isinstance(kept, dict):
            kept.update({field.encode(): encoded(value) for field, value in values.items()})
        elif values:
            raise _wrong(key)

    async def write_on(self, server: str, key: str, values: Mapping[str, bytes | str]) -> str:
        if server == self.server and values:
            await self.write_hash(key, values)
        return self.server

    async def swap(self, swaps: Sequence[Swap]) -> list[bool]:
        return [self._swap(swap) for swap in swaps]

    def _swap(self, swap: Swap) -> bool:
        kept = self._get(swap.key)
        if kept is None:
            kept = {}
        if not isinstance(kept, dict) or kept.get(VERSION, b"") != swap.expected:
            return False
        for floor in swap.floors:
            marks = self._get(floor.watermarks)
            mark = marks.get(floor.origin.encode(), b"") if isinstance(marks, dict) else b""
            if mark.partition(b" ")[0] < floor.place.encode():
                return False
        kept.update(zip(swap.fields[::2], swap.fields[1::2], strict=True))
        for name in swap.gone:
            kept.pop(name, None)
        if kept:
            self._keys[swap.key] = kept
        return True

    async def delete(self, keys: Sequence[str]) -> int:
        count = 0
        for key in keys:
            count += self._get(key) is not None
            self._keys.pop(key, None)
            self._expiry.pop(key, None)
            self._ids.pop(key, None)
        return count

    async def append(self, stream: str, entry: Mapping[str, bytes], *, id: str = "") -> str:
        log = self._log(stream)
        known = self._ids.setdefault(stream, {})
        if id in known:
            return known[id]
        self._last += 1
        number = self._last
        self._keys[stream] = log
        log.append((number, dict(entry)))
        if id:
            known[id] = f"{number}-0"
        return f"{number}-0"

    async def entries(self, stream: str, *, after: str = "", count: int = 100) -> list[tuple[str, dict[str, bytes]]]:
        log = self._log(stream)
        start = bisect_right(log, int(after.partition("-")[0]), key=lambda item: item[0]) if after else 0
        return [(f"{number}-0", dict(entry)) for number, entry in log[start : start + count]]

    async def amend(self, stream: str, id: str, entry: Mapping[str, bytes]) -> bool:
        place = self._ids.get(stream, {}).get(id)
        if place is None:
            return False
        log, number = self._log(stream), int(place.partition("-")[0])
        log[bisect_left(log, number, key=lambda item: item[0])] = (number, dict(entry))
        return True

    async def remove(self, stream: str, ids: Sequence[str]) -> int:
        log, known = self._log(stream), self._ids.get(stream, {})
        places = {known.pop(id) for id in ids if id in known}
        before = len(log)
        log[:] = [item for item in log if f"{item[0]}-0" not in places]
        return before - len(log)

    async def length(self, stream: str) -> int:
        return len(self._log(stream))

    async def size(self, stream: str) -> int:
        return sum(len(name) + len(value) for _, entry in self._log(stream) for name, value in entry.items())

    def _get(self, key: str) -> bytes | dict[bytes, bytes] | Log | None:
        expiry = self._expiry.get(key)
        if expiry is not None and expiry <= self.clock():
            del self._keys[key], self._expiry[key]
        return self._keys.get(key)

    def _log(self, stream: str) -> Log:
        log = self._get(stream)
        if log is None:
            return []
        if isinstance(log, list):
            return log
        raise _wrong(stream)


def _wrong(key: str) -> ReplyError:
    return ReplyError(f"WRONGTYPE {key} holds another kind of value")
