"""Topics inside the process: the endpoint that the harness and tests use in place of a broker."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from penstock.connectors.batch import Batch, Partition
from penstock.connectors.bell import Bell
from penstock.connectors.cloudevents.attributes import Attributes
from penstock.connectors.cloudevents.modes import read
from penstock.connectors.event import Event, Message
from penstock.connectors.protocol import Settled
from penstock.connectors.site import Site
from penstock.connectors.topics import Log, Topics
from penstock.errors import Unavailable

MOST = 1024
"""Records in one batch at most."""


class Memory(msgspec.Struct, frozen=True):
    """A topic inside this process; `Topics.of(site)` gives access to what is in it.

    Payloads are bytes, or objects that the engine then passes on without decoding. One source of a pipeline reads
    a topic at a time; it starts at the earliest record that the pipeline has not confirmed.

    >>> Memory("payments").address
    'memory:payments'
    """

    topic: str
    partitions: int = 1

    @property
    def address(self) -> str:
        return f"memory:{self.topic}"

    def source(self, site: Site) -> MemorySource:
        return MemorySource(Topics.of(site), self, site.group)

    def sink(self, site: Site) -> MemorySink:
        return MemorySink(Topics.of(site), self)


class MemoryBatch(Batch):
    """Consecutive records of one partition, described from its log when asked."""

    __slots__ = ("_confirmed", "_log", "_start", "attributes")

    def __init__(
        self,
        partition: Partition,
        log: Log,
        start: int,
        stop: int,
        *,
        confirmed: list[int],
        keyed: bool,
        received: float,
    ) -> None:
        values: list[Any] = log.values[start:stop]
        super().__init__(partition, values, keys=log.keys[start:stop] if keyed else None, received=received)
        self.attributes: dict[int, Attributes | None] = {}
        self._confirmed = confirmed
        self._log = log
        self._start = start
        if log.envelopes:
            for index, value in enumerate(values):
                if start + index in log.envelopes:
                    values[index], self.attributes[index] = read(value, log.headers(start + index).items())

    def position(self, index: int) -> str:
        return f"{self.partition}/{self._start + index:019d}"

    def origin(self, index: int) -> str:
        return f"memory:{self.partition}"

    def place(self, index: int) -> str:
        return f"{self._start + index:019d}"

    def floor(self) -> str:
        return f"{self._confirmed[self.partition.number]:019d}"

    def event(self, index: int) -> Event:
        offset, topic = self._start + index, self.partition.name
        data, raw = self._log.values[offset], self._log.keys[offset]
        key = raw.decode("utf-8", "replace") if raw else ""
        extra = self._log.extras.get(offset)
        attributes = self.attributes.get(index)
        if attributes is not None:
            return attributes.event(data=data, key=key, topic=topic)
        if isinstance(extra, Message) and extra.id:
            subject = extra.subject or key
            headers = {name.removeprefix("ce_"): value for name, value in (extra.headers or {}).items()}
            return Event(extra.id, extra.source, extra.type, subject, extra.time, key, topic, headers, data)
        return Event(
            f"{self.partition}/{offset}",
            f"memory:{topic}",
            key=key,
            topic=topic,
            headers=self._log.headers(offset),
            data=data,
        )


class MemorySource:
    """Reads a topic of this process."""

    def __init__(self, topics: Topics, endpoint: Memory, group: str) -> None:
        self.endpoint = endpoint
        self.group = group
        self._topics = topics
        self._topic = topics.topic(endpoint.topic, endpoint.partitions)
        self._partitions = [Partition(endpoint.topic, number) for number in range(len(self._topic.logs))]
        self._next: list[int] = []
        self._pending: list[deque[Batch]] = []
        self._stopped = False
        self._bell = Bell()

    @property
    def problem(self) -> str | None:
        return None if self._topics.available else f"{self.endpoint.address}: taken down"

    async def open(self) -> None:
        self._topics.check()
        self._next = list(self._topic.position(self.group))
        self._pending = [deque() for _ in self._next]
        self._topic.readers.add(self._bell.ring)

    async def receive(self) -> Sequence[Batch]:
        while not self._stopped:
            batches = self._read() if self._topics.available else []
            if batches:
                return batches
            await self._bell.wait()
        return []

    def _read(self) -> list[Batch]:
        now = asyncio.get_running_loop().time()
        topic = self._topic
        found: list[Batch] = []
        for number, log in enumerate(topic.logs):
            start = self._next[number]
            stop = min(len(log.values), start + MOST)
            if stop > start:
                batch = MemoryBatch(
                    self._partitions[number],
                    log,
                    start,
                    stop,
                    confirmed=topic.position(self.group),
                    keyed=topic.keyed,
                    received=now,
                )
                self._next[number] = stop
                self._pending[number].append(batch)
                found.append(batch)
        if found:
            self._settle()
        return found

    def _settle(self) -> None:
        """Move each partition's confirmed offset over what is finished."""
        confirmed = self._topic.position(self.group)
        for number, pending in enumerate(self._pending):
            while pending and pending[0].left == 0:
                confirmed[number] += len(pending.popleft())

    def stop(self) -> None:
        self._stopped = True
        self._bell.ring()

    async def confirm(self) -> None:
        if not self._topics.available:
            return
        self._settle()
        confirmed = self._topic.position(self.group)
        for number, pending in enumerate(self._pending):
            first = self._next[number] - sum(map(len, pending))
            confirmed[number] = first + (pending[0].finished() if pending else 0)

    async def close(self) -> None:
        self.stop()
        self._topic.readers.discard(self._bell.ring)
        await self.confirm()
        self._pending = []

    def lag(self) -> int | None:
        return len(self._topic) - sum(self._next)


class MemorySink:
    """Appends to the topics that messages are addressed to."""

    ordered = True

    def __init__(self, topics: Topics, endpoint: Memory) -> None:
        self.endpoint = endpoint
        self._topics = topics
        self._settled: Settled | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._taken: list[Message] = []
        self._reported: asyncio.Future[None] | None = None

    @property
    def problem(self) -> str | None:
        return None if self._topics.available else f"{self.endpoint.address}: taken down"

    async def open(self, settled: Settled) -> None:
        self._topics.check()
        self._topics.topic(self.endpoint.topic, self.endpoint.partitions)
        self._loop = asyncio.get_running_loop()
        self._settled = settled

    def send(self, messages: Sequence[Message]) -> None:
        if not messages or self._loop is None:
            return
        if not self._taken:
            self._loop.call_soon(self._report)
        self._taken.extend(messages)

    def _report(self) -> None:
        """Write what this tick took, and say so."""
        messages, self._taken = self._taken, []
        if not messages or self._settled is None:
            return
        try:
            self._topics.check()
        except Unavailable as error:
            self._settled(messages, error)
            return
        self._topics.write(messages)
        self._settled(messages, None)

    async def flush(self) -> None:
        self._report()

    async def close(self) -> None:
        self._report()
        self._settled = None
        self._loop = None
