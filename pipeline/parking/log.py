"""The logs of what was set aside: written in order, read by place, cleared of what is finished."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from penstock.connectors import Batch, Store
from penstock.pipeline.parking.leases import Leases
from penstock.pipeline.parking.spilled import Entry, Spilled

if TYPE_CHECKING:
    from penstock.pipeline.engine.outages import Outages

T = TypeVar("T")

CHUNK = 200
"""Records that are written, read or taken out together."""


class Leaving(msgspec.Struct, frozen=True):
    """A record on its way into the log. `copy` stands for it already where it is the one that is tried again."""

    key: Any
    batch: Batch
    index: int
    id: str
    entry: Entry
    copy: Spilled | None


class Place(msgspec.Struct, frozen=True):
    """Where a record lies: its log, its place there, its identity, its origin."""

    stream: str
    place: str
    id: str
    origin: str


class Log:
    """The logs of one source stage, one for each partition: `penstock:{pipeline}:parked:{partition}`.

    Whatever is done here is done however long the store is away: who it is done for waits anyway. `written` is told of
    each record that lies there, in order, and where.
    """

    def __init__(
        self,
        store: Store,
        leases: Leases,
        outages: Outages,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        written: Callable[[Leaving, str], None],
    ) -> None:
        self.store = store
        self.leases = leases
        self.outages = outages
        self.spawn = spawn
        self.written = written
        self.known: set[str] = set()
        self._leaving: deque[Leaving] = deque()
        self._done: deque[tuple[str, str]] = deque()
        self._writing = self._removing = False

    def append(self, one: Leaving) -> None:
        """Write a record, behind everything before it."""
        self._leaving.append(one)
        if not self._writing:
            self._writing = True
            self.spawn(self._write())

    def remove(self, partition: str, id: str) -> None:
        """Take a finished record out."""
        self._done.append((self.leases.log(partition), id))
        if not self._removing:
            self._removing = True
            self.spawn(self._remove())

    async def read(self, places: Sequence[Place]) -> list[Entry | None]:
        """What lies at these places; None where nothing does any more."""
        found = await self.patiently(
            lambda: asyncio.gather(
                *(self.store.entries(one.stream, after=_before(one.place), count=1) for one in places)
            )
        )
        return [
            entries[0][1] if entries and entries[0][0] == one.place else None
            for one, entries in zip(places, found, strict=True)
        ]

    async def all(self, partition: str) -> AsyncIterator[tuple[str, Entry]]:
        """Everything of a partition, with its places."""
        stream, after = self.leases.log(partition), ""
        while found := await self.patiently(lambda: self.store.entries(stream, after=after, count=CHUNK)):  # noqa: B023
            for after, fields in found:
                yield after, fields

    async def empty(self, partition: str) -> bool:
        """Whether nothing lies there."""
        return not await self.patiently(lambda: self.store.entries(self.leases.log(partition), count=1))

    async def patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        return await self.outages.through(work, "parked events")

    async def _write(self) -> None:
        while self._leaving:
            some = [self._leaving[at] for at in range(min(CHUNK, len(self._leaving)))]
            for name in {str(one.batch.partition) for one in some} - self.leases.ours:
                await self.patiently(lambda: self.leases.seize(name))  # noqa: B023
            for one, place in zip(some, await self.patiently(lambda: self._append(some)), strict=True):  # noqa: B023
                self._leaving.popleft()
                self.written(one, place)
        self._writing = False

    async def _append(self, some: Iterable[Leaving]) -> list[str]:
        appends = [self.store.append(self.leases.log(str(one.batch.partition)), one.entry, id=one.id) for one in some]
        return list(await asyncio.gather(*appends))

    async def _remove(self) -> None:
        while self._done:
            some = list(self._done)
            ids: dict[str, list[str]] = defaultdict(list)
            for stream, id in some:
                ids[stream].append(id)
            await self.patiently(lambda: asyncio.gather(*(self.store.remove(*each) for each in ids.items())))  # noqa: B023
            for _, id in some:
                self._done.popleft()
                self.known.discard(id)
        self._removing = False


def _before(place: str) -> str:
    """The place right before another one of a log.

    >>> _before("5-3"), _before("5-0")
    ('5-2', '4-18446744073709551615')
    """
    time, _, number = place.partition("-")
    return f"{time}-{int(number) - 1}" if number != "0" else f"{int(time) - 1}-18446744073709551615"
