"""Endpoints and a store whose every move a test makes: what comes in, what is confirmed and when, what is down."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from penstock import Unavailable, Undeliverable
from penstock.connectors import Batch, Event, Message, Partition, Settled, Sink, Site, Source
from penstock.connectors.store.memory import MemoryStore
from tests.chaos.fates import Step

PARTITIONS = 3
WAITED = PARTITIONS - 1
"""The partition at which senders wait for their answers."""


def place(partition: int, offset: int) -> str:
    """The position of a record, and the id of the event that is there."""
    return f"p{partition}-{offset:04d}"


class Rows(Batch):
    """Records of one partition from an offset on."""

    __slots__ = ("start",)

    def __init__(self, partition: int, start: int, values: Sequence[bytes]) -> None:
        super().__init__(Partition("in", partition), values, waited=partition == WAITED)
        self.start = start

    def position(self, index: int) -> str:
        return place(self.partition.number, self.start + index)

    def event(self, index: int) -> Event:
        return Event(self.position(index), "/world", topic="in", data=self.values[index])


class Origin:
    """What was produced, and up to where each partition is confirmed: it outlives the process that reads it."""

    def __init__(self) -> None:
        self.logs: list[list[Step | None]] = [[] for _ in range(PARTITIONS)]
        self.confirmed = [0] * PARTITIONS

    def records(self) -> Iterator[tuple[int, int, Step | None]]:
        """Partition, offset and event of every record; None for one that is no event."""
        for number, log in enumerate(self.logs):
            for offset, step in enumerate(log):
                yield number, offset, step


class ScriptedSource:
    """A source that hands over what it is told to."""

    problem: str | None = None

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.next = list(origin.confirmed)
        self.pending: list[list[Rows]] = [[] for _ in range(PARTITIONS)]
        self._told: dict[str, object] = {}
        self._given: asyncio.Queue[list[Rows]] = asyncio.Queue()

    def deliver(self, partition: int, count: int) -> None:
        """Hand over the next records of a partition."""
        start, log = self.next[partition], self.origin.logs[partition]
        steps = log[start : start + count]
        if steps:
            rows = Rows(partition, start, [b"{" if one is None else msgspec.json.encode(one) for one in steps])
            self.next[partition] += len(steps)
            self.pending[partition].append(rows)
            self._given.put_nowait([rows])

    def finished(self, partition: int) -> int:
        """The offset up to which everything is finished."""
        at = self.next[partition] - sum(map(len, self.pending[partition]))
        for rows in self.pending[partition]:
            at += rows.finished()
            if rows.left:
                break
        return at

    def fence(self, partition: int) -> bool:
        """The partition goes away, and comes back from where it was confirmed. Whether records come again."""
        self.origin.confirmed[partition] = self.next[partition] = self.finished(partition)
        self.answers()
        again = any(rows.left for rows in self.pending[partition])
        for rows in self.pending[partition]:
            rows.fenced = rows.void = True
        self.pending[partition].clear()
        return again

    def answers(self) -> dict[str, object]:
        """What waiting senders have been told so far, by position."""
        for rows in self.pending[WAITED]:
            self._told |= {rows.position(index): answer for index, answer in rows.answers.items()}
        return self._told

    async def open(self) -> None:
        """Nothing to connect to."""

    async def receive(self) -> Sequence[Batch]:
        return await self._given.get()

    def stop(self) -> None:
        self._given.put_nowait([])

    async def confirm(self) -> None:
        for number in range(PARTITIONS):
            self.origin.confirmed[number] = self.finished(number)

    async def close(self) -> None:
        await self.confirm()

    def lag(self) -> int | None:
        return None


class Outside:
    """Where actions arrive, which outlives the process that sends them. `refused` is the letter it will not take."""

    def __init__(self, name: str, refused: str, *, ordered: bool) -> None:
        self.name = name
        self.refused = refused
        self.ordered = ordered
        self.up = True
        self.arrived: list[str] = []
        self.contents: dict[str, bytes | None] = {}
        self.confirmed: set[str] = set()

    def arrive(self, message: Message) -> None:
        """One action is there. Whatever is repeated has the same content."""
        assert self.contents.setdefault(message.id, message.value) == message.value, message.id
        self.arrived.append(message.id)


class PlayedSink:
    """A sink that confirms when and in which order it is told to.

    One that keeps order takes messages in order, and when it fails it fails all that it has; the other takes each
    at the moment that it confirms it.
    """

    problem: str | None = None

    def __init__(self, outside: Outside) -> None:
        self.outside = outside
        self.ordered = outside.ordered
        self.waiting: list[Message] = []
        self._there: set[int] = set()
        self._settled: Settled | None = None

    async def open(self, settled: Settled) -> None:
        self._settled = settled

    def send(self, messages: Sequence[Message]) -> None:
        loop = asyncio.get_running_loop()
        for message in messages:
            if not self.outside.up:
                loop.call_soon(self._report, [message], self._outage())
            elif message.value == f'"{self.outside.refused}"'.encode():
                loop.call_soon(self._report, [message], Undeliverable("too large"))
            else:
                self.waiting.append(message)

    def confirm(self, order: Sequence[int]) -> None:
        """Confirm the waiting messages of these places, in this order."""
        chosen = [self.waiting[at] for at in order]
        if self.ordered and order:
            self.arrive(max(order) + 1)
        self.waiting = [one for at, one in enumerate(self.waiting) if at not in order]
        for message in chosen:
            if not self.ordered:
                self.outside.arrive(message)
            self._there.discard(id(message))
            self.outside.confirmed.add(message.id)
            self._report([message], None)

    def fail(self, arrive: int) -> None:
        """Everything that waits meets an outage, the first ones of it after they have arrived."""
        self.arrive(arrive)
        waiting, self.waiting = self.waiting, []
        self._there.clear()
        for message in waiting:
            self._report([message], self._outage())

    def arrive(self, count: int) -> None:
        """The first of what waits has arrived, confirmed or not."""
        for message in self.waiting[:count]:
            if id(message) not in self._there:
                self._there.add(id(message))
                self.outside.arrive(message)

    def _outage(self) -> Unavailable:
        return Unavailable(self.outside.name, "it does not answer")

    def _report(self, messages: Sequence[Message], error: BaseException | None) -> None:
        assert self._settled is not None
        self._settled(messages, error)

    async def flush(self) -> None:
        """Whatever waits is the test's to confirm."""

    async def close(self) -> None:
        """Nothing to leave."""


@dataclass(frozen=True)
class Played:
    """The endpoint of a source or a sink that the test holds."""

    name: str
    opened: Any

    @property
    def address(self) -> str:
        return f"played:{self.name}"

    def source(self, site: Site) -> Source:
        found: Source = self.opened
        return found

    def sink(self, site: Site) -> Sink:
        found: Sink = self.opened
        return found


class FrailStore(MemoryStore):
    """A store that can be down, or lose the answer to a write that it has made."""

    up = True
    mute = False

    def _check(self) -> None:
        if not self.up:
            raise Unavailable("store", "it does not answer")

    async def read(self, keys: Sequence[str]) -> list[bytes | None]:
        self._check()
        return await super().read(keys)

    async def read_maps(self, keys: Sequence[str]) -> list[dict[bytes, bytes] | None]:
        self._check()
        return await super().read_maps(keys)

    async def append(self, stream: str, entry: Mapping[str, bytes], *, id: str = "") -> str:
        self._check()
        found = await super().append(stream, entry, id=id)
        if self.mute:
            raise Unavailable("store", "the answer was lost")
        return found
