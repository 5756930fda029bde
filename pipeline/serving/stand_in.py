"""Streams of the embedded server that stand in for Kafka and MQTT topics without an address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from penstock.connectors import (
    Batch,
    Endpoint,
    Event,
    Kafka,
    Message,
    Mqtt,
    Settings,
    Settled,
    Sink,
    Site,
    Source,
)
from penstock.connectors.protocol import Rewindable
from penstock.connectors.template import matcher
from penstock.connectors.watermark import Watermarks

if TYPE_CHECKING:
    from penstock.connectors.redis.endpoint import Redis

ON = "embedded"
"""The connection of the embedded server: its address is `PENSTOCK_REDIS__EMBEDDED`."""

MQTT = "mqtt"
"""The one stream of all MQTT messages of a connection: topics are not known beforehand, and wildcards cross them."""

TOPIC = "mqtt-topic"
"""The header with a message's topic in that stream."""


def stand_in(settings: Settings) -> Callable[[Endpoint], Endpoint]:
    """What puts a stream in the place of every Kafka and MQTT endpoint whose address is not set."""

    def instead(endpoint: Endpoint) -> Endpoint:
        if isinstance(endpoint, Kafka | Mqtt) and not settings.has(variable(endpoint)):
            return StandIn(endpoint)
        return endpoint

    return instead


def variable(endpoint: Kafka | Mqtt) -> str:
    """The setting that holds the address of an endpoint's connection."""
    name = "PENSTOCK_KAFKA" if isinstance(endpoint, Kafka) else "PENSTOCK_MQTT"
    return f"{name}__{endpoint.on.upper()}" if endpoint.on else name


@dataclass(frozen=True, slots=True)
class StandIn:
    """A declared endpoint, kept in a stream under its own name. Its address stays the declared one."""

    declared: Kafka | Mqtt

    @property
    def address(self) -> str:
        return self.declared.address

    @property
    def stream(self) -> Redis:
        """The stream that stands in."""
        from penstock.connectors.redis.endpoint import Redis

        return Redis(f"{self._kafka}{self.declared.topic}" if isinstance(self.declared, Kafka) else self._mqtt, on=ON)

    # A topic on another connection is another topic, also where one server stands in for both.

    @property
    def _kafka(self) -> str:
        return f"kafka@{self.declared.on}:" if self.declared.on else "kafka:"

    @property
    def _mqtt(self) -> str:
        return f"{MQTT}@{self.declared.on}" if self.declared.on else MQTT

    def source(self, site: Site) -> Source:
        if isinstance(self.declared, Kafka):
            return replace(self.stream, group=self.declared.group).source(site)
        # Every subscription reads the whole stream, so each has a group of its own.
        return TopicSource(
            replace(self.stream, group=f"{site.group}.{self.declared.topic}").source(site), self.declared
        )

    def tail(self, site: Site, *, earliest: bool) -> Source:
        """A source that shows what arrives, without a group."""
        from penstock.connectors.redis.tail import StreamTail

        tail = StreamTail(self.stream, site, earliest=earliest)
        return tail if isinstance(self.declared, Kafka) else TopicSource(tail, self.declared)

    async def topics(self, site: Site) -> frozenset[str] | None:
        """The topics that have a stream of their own."""
        if isinstance(self.declared, Mqtt):
            return None
        streams = await self.stream.topics(site)
        return frozenset(name.removeprefix(self._kafka) for name in streams if name.startswith(self._kafka))

    def sink(self, site: Site) -> Sink:
        rename = partial(_as_kafka, self._kafka) if isinstance(self.declared, Kafka) else partial(_as_mqtt, self._mqtt)
        return RenamingSink(self.stream.sink(site), rename)


def _as_kafka(prefix: str, message: Message) -> None:
    if not message.to.startswith(prefix):
        message.to = f"{prefix}{message.to}"


def _as_mqtt(stream: str, message: Message) -> None:
    if TOPIC not in (message.headers or {}):
        message.headers = {**(message.headers or {}), TOPIC: message.to}
        # Messages of one topic stay in order.
        message.key = message.key or message.to.encode()
        message.to = stream


class RenamingSink:
    """A sink that sends each message to the stream that stands in for its topic."""

    def __init__(self, sink: Sink, rename: Callable[[Message], None]) -> None:
        self.sink = sink
        self.rename = rename
        self.ordered = sink.ordered

    @property
    def problem(self) -> str | None:
        return self.sink.problem

    async def open(self, settled: Settled) -> None:
        await self.sink.open(settled)

    def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self.rename(message)
        self.sink.send(messages)

    async def flush(self) -> None:
        await self.sink.flush()

    async def close(self) -> None:
        await self.sink.close()


class TopicSource:
    """The messages of the MQTT stream whose topic an endpoint subscribes to, with what its braces capture."""

    def __init__(self, source: Source, endpoint: Mqtt) -> None:
        self.source = source
        self._match = matcher(endpoint.topic).fullmatch
        self._captures = "{" in endpoint.topic

    @property
    def problem(self) -> str | None:
        return self.source.problem

    @property
    def watermarks(self) -> Watermarks | None:
        return self.source.watermarks if isinstance(self.source, Rewindable) else None

    @watermarks.setter
    def watermarks(self, watermarks: Watermarks | None) -> None:
        if isinstance(self.source, Rewindable):
            self.source.watermarks = watermarks

    async def open(self) -> None:
        await self.source.open()

    async def receive(self) -> Sequence[Batch]:
        while True:
            batches = await self.source.receive()
            wanted = [one for one in map(self._select, batches) if one is not None]
            if wanted or not batches:
                return wanted

    def stop(self) -> None:
        self.source.stop()

    async def confirm(self) -> None:
        await self.source.confirm()

    async def close(self) -> None:
        await self.source.close()

    def lag(self) -> int | None:
        return self.source.lag()

    def _select(self, batch: Batch) -> Batch | None:
        """The records for this endpoint; all others are finished at once."""
        indexes: list[int] = []
        captures: list[dict[str, str]] = []
        for index in range(len(batch)):
            match = self._match(batch.event(index).headers.get(TOPIC, ""))
            if match is None:
                batch.settle(index)
            else:
                indexes.append(index)
                captures.append(match.groupdict())
        return Selected(batch, indexes, captures if self._captures else None) if indexes else None


class Selected(Batch):
    """Some records of a batch. What is taken and settled here is taken and settled there."""

    __slots__ = ("indexes", "passed", "whole")

    def __init__(self, whole: Batch, indexes: Sequence[int], captures: list[dict[str, str]] | None) -> None:
        self.whole = whole
        self.indexes = indexes
        self.passed = bytearray(len(indexes))
        values = [whole.values[index] for index in indexes]
        super().__init__(whole.partition, values, captures=captures, changed=_pass_on, received=whole.received)

    @property
    def fenced(self) -> bool:
        return self.whole.fenced

    @fenced.setter
    def fenced(self, fenced: bool) -> None:
        """The source says so of the whole batch alone."""

    @property
    def void(self) -> bool:
        return self.whole.void

    @void.setter
    def void(self, void: bool) -> None:
        """As `fenced`."""

    def event(self, index: int) -> Event:
        event = self.whole.event(self.indexes[index])
        headers = {name: value for name, value in event.headers.items() if name != TOPIC}
        return Event(
            event.id,
            event.source,
            event.type,
            event.subject,
            event.time,
            "",
            event.headers[TOPIC],
            headers,
            event.data,
        )

    def position(self, index: int) -> str:
        return self.whole.position(self.indexes[index])

    def origin(self, index: int) -> str:
        return self.whole.origin(self.indexes[index])

    def place(self, index: int) -> str:
        return self.whole.place(self.indexes[index])

    def floor(self) -> str:
        return self.whole.floor()


def _pass_on(batch: Any) -> None:
    """Settle in the whole batch what was finished here since the last call."""
    batch.whole.taken = batch.indexes[batch.taken - 1] + 1 if batch.taken else 0
    for here, there in enumerate(batch.indexes):
        if not batch.owed[here] and not batch.passed[here]:
            batch.passed[here] = 1
            batch.whole.settle(there)
