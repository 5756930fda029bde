"""What a contract suite needs from a technology: a place to read or write, and a second look at it from outside."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from penstock.connectors import Batch, Endpoint, Event, Message, Site, Source
from penstock.errors import Unavailable

PATIENCE = 60.0
"""Seconds that a test waits for what must come. Never waited out when all is well."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record as the origin keeps it. Header names are the transport's own, except `content-type`."""

    value: bytes | None
    key: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    partition: int = 0


class Rig(Protocol):
    """One endpoint, on a topic that no other test has."""

    @property
    def endpoint(self) -> Endpoint: ...

    def site(self) -> Site:
        """A process's place, as after a restart: nothing shared with earlier ones, the same pipeline name."""
        ...

    def binary(self, attributes: Mapping[str, str]) -> dict[str, str]:
        """CloudEvents attributes as this transport's headers in binary mode."""
        ...

    async def close(self) -> None:
        """Leave what the rig itself has opened."""


class SourceRig(Rig, Protocol):
    """What the contract of a source needs."""

    async def produce(self, records: Sequence[Record]) -> None:
        """Have these arrive, in order within a partition.

        Returns when the origin has them, or, where a sender waits for its answer, when they are on their way.
        """


class LogRig(SourceRig, Protocol):
    """What the contract of a source with positions needs: its topic has at least two partitions."""

    async def confirmed(self) -> int:
        """How many records the origin considers confirmed now, over all partitions."""
        ...

    def identity(self, partition: int, number: int) -> str:
        """The event id of the plain record that was produced as `number` (from 0) to a partition."""
        ...


class SinkRig(Rig, Protocol):
    """What the contract of a sink needs."""

    @property
    def to(self) -> str:
        """The filled-in target that messages are addressed to."""
        ...

    async def received(self, count: int) -> list[Record]:
        """Everything that reached the target so far, from the first; waits until there are `count`."""
        ...


class Outage(Protocol):
    """A server that belongs to one rig alone, to take away and bring back."""

    async def down(self) -> None:
        """Stop the server. What it has confirmed, it keeps."""

    async def up(self) -> None:
        """Start it again, and wait until it answers."""


class SourceOutageRig(SourceRig, Outage, Protocol):
    """A source's rig with a server to take away."""


class SinkOutageRig(SinkRig, Outage, Protocol):
    """A sink's rig with a server to take away."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One record as the engine has it: a batch and an index."""

    batch: Batch
    index: int

    @property
    def value(self) -> object:
        return self.batch.values[self.index]

    @property
    def key(self) -> bytes | None:
        key = self.batch.keys[self.index] if self.batch.keys is not None else None
        return key.encode() if isinstance(key, str) else key

    @property
    def event(self) -> Event:
        return self.batch.event(self.index)

    def settle(self) -> None:
        self.batch.settle(self.index)


async def take(source: Source, count: int) -> list[Taken]:
    """Receive until there are `count` records, as an engine with enough slots would. The last may bring more."""
    taken: list[Taken] = []
    async with asyncio.timeout(PATIENCE):
        while len(taken) < count:
            for batch in await source.receive():
                batch.taken = len(batch)
                taken += [Taken(batch, index) for index in range(len(batch))]
    return taken


def by_partition(taken: Iterable[Taken]) -> dict[int, list[object]]:
    """The values of each partition, in the order in which they came."""
    values: dict[int, list[object]] = {}
    for record in taken:
        values.setdefault(record.batch.partition.number, []).append(record.value)
    return values


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition that nothing announces: asked again at short intervals, with a deadline."""
    async with asyncio.timeout(PATIENCE):
        while True:
            held = condition()
            if held if isinstance(held, bool) else await held:
                return
            await asyncio.sleep(0.005)


class Ledger:
    """The engine's side of a sink: what settled, how often, and with what.

    Ids are those of the messages. What settles with an error stays in `failed` until it is asked for.
    """

    def __init__(self) -> None:
        self.outcomes: dict[str, list[BaseException | None]] = {}
        self.failed: list[Message] = []
        self.threads: set[int] = set()

    def settled(self, messages: Sequence[Message], error: BaseException | None) -> None:
        self.threads.add(threading.get_ident())
        for message in messages:
            self.outcomes.setdefault(message.id, []).append(error)
            if error is not None:
                self.failed.append(message)

    def confirmed(self) -> set[str]:
        """Ids of the messages whose last outcome is that they were confirmed."""
        return {id for id, outcomes in self.outcomes.items() if outcomes[-1] is None}

    def once(self, count: int) -> bool:
        """Whether `count` messages settled, each exactly once and without an error."""
        return len(self.outcomes) == count and all(outcomes == [None] for outcomes in self.outcomes.values())


async def patiently(open_it: Callable[[], Awaitable[None]]) -> None:
    """Open as the engine does: a server that has only just started may ask to be asked again."""

    async def opened() -> bool:
        try:
            await open_it()
        except Unavailable:
            return False
        return True

    await until(opened)


@asynccontextmanager
async def reading(endpoint: Endpoint, site: Site) -> AsyncIterator[Source]:
    """A source in a process of its own, that leaves at the end."""
    source = endpoint.source(site)
    await patiently(source.open)
    try:
        yield source
    finally:
        source.stop()
        await source.close()
        await site.close()
