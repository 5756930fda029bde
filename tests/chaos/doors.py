"""The readers of every technology, fed with what its client or its wire would have handed over."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kafka.consumer.fetcher import ConsumerRecord
from multidict import CIMultiDict
from paho.mqtt import MQTTException

from penstock.connectors import Batch, Partition, Settings, Sink, Site, Source
from penstock.connectors.http.body import inflated
from penstock.connectors.http.request import Exchange, batches, kind_of
from penstock.connectors.kafka.python_batch import PythonBatch
from penstock.connectors.mqtt.broker import broker
from penstock.connectors.mqtt.client import make
from penstock.connectors.mqtt.endpoint import Mqtt
from penstock.connectors.mqtt.source import MqttSource
from penstock.connectors.redis.entry import StreamBatch
from penstock.errors import BadEvent
from tests.chaos.mutations import TOKENS, Mutations
from tests.chaos.wire import publish


class Fed:
    """A source that hands over the batches it is given."""

    problem: str | None = None

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self._given: asyncio.Queue[list[Batch]] = asyncio.Queue()

    def give(self, batches: Sequence[Batch]) -> None:
        """Hand these over."""
        if batches:
            self.batches += batches
            self._given.put_nowait(list(batches))

    async def open(self) -> None:
        """Nothing to connect to."""

    async def receive(self) -> Sequence[Batch]:
        return await self._given.get()

    def stop(self) -> None:
        self._given.put_nowait([])

    async def confirm(self) -> None:
        """Nobody asks."""

    async def close(self) -> None:
        """Nothing to leave."""

    def lag(self) -> int | None:
        return None


@dataclass(frozen=True)
class Opened:
    """An endpoint whose source or sink is there already."""

    address: str
    it: Any

    def source(self, site: Site) -> Source:
        found: Source = self.it
        return found

    def sink(self, site: Site) -> Sink:
        found: Sink = self.it
        return found


def kafka(supply: Mutations, count: int) -> list[Batch]:
    """Records as kafka-python makes them."""
    made = [supply.record("ce_") for _ in range(count)]
    start = supply.count
    records = []
    for offset, one in enumerate(made, start):
        headers: list[Any] = [*one.headers]
        headers += [("content-type", _raw(one.content_type))] if one.content_type else []
        key = supply.random.choice((None, b"", b"card-1", b"\xff\xfe"))
        records.append(ConsumerRecord("t", 0, 1, offset, -1, 0, key, one.value, headers, None, 0, 0, 0))
    found = [record.headers for record in records]
    values, keys = [record.value for record in records], [record.key for record in records]
    return [PythonBatch(Partition("t"), records, values, keys, found if any(found) else None, 0.0, end=start + count)]


def redis(supply: Mutations, count: int) -> list[Batch]:
    """Entries of a stream as they come over the wire."""
    entries = []
    for number in range(count):
        one = supply.record("ce_")
        flat = [b"data", one.value] if one.value is not None else []
        flat += [b"content-type", _raw(one.content_type)] if one.content_type else []
        flat += [part for name, value in one.headers for part in (name.encode("utf-8", "replace"), value or b"")]
        flat += supply.random.choice(([], [b"key", b"card-1"], [b"key", b"\xff"], [b"\xff\xfe", b"x"], [b"data", b"{"]))
        entries.append((f"{supply.count}-{number}".encode(), flat))
    return [StreamBatch(Partition("s"), entries, 0.0)]


class Subscription(MqttSource):
    """The source of a subscription, without the connection."""

    def __init__(self) -> None:
        endpoint, nowhere = Mqtt("terminals/{terminal}/payments"), broker(Settings({"PENSTOCK_MQTT": "mqtt://nowhere"}))
        super().__init__(endpoint, nowhere, "fuzz", endpoint.filter)
        self._client: Any = make(nowhere, "fuzz", lambda: None)
        self._client.on_message = lambda _client, _data, message: self.arrived(message)
        self.batches: list[Batch] = []

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()

    def feed(self, supply: Mutations, count: int) -> None:
        """Messages as paho makes them of packets."""
        for mid in range(1, count + 1):
            command, packet = publish(supply, mid)
            self._client._in_packet = {"command": command, "packet": packet}
            with suppress(MQTTException, ValueError, IndexError):  # no broker passes it on
                self._client._handle_publish()
        before = len(self._ready)
        self.read()
        self.batches += self._ready[before:]


def http(supply: Mutations, count: int) -> list[Batch]:
    """Requests as aiohttp hands them over, some of many events. Those that the door turns away are none."""
    exchanges = []
    for _ in range(count):
        with suppress(BadEvent):
            exchanges.append(_exchange(supply))
    return list(batches(Partition("/payments"), [one for one in exchanges if one.values], lambda batch: None))


def _exchange(supply: Mutations) -> Exchange:
    random, many = supply.random, [supply.record("ce-")]
    kind = many[0].content_type
    body = many[0].value or b""
    if random.random() < 0.3:
        many += [supply.record("ce-") for _ in range(random.randrange(4))]
        lines = random.random() < 0.5
        bodies = [one.value or b"" for one in many]
        kind = "application/x-ndjson" if lines else "application/cloudevents-batch+json"
        body = b"\n".join(bodies) if lines else b"[" + b",".join(bodies) + b"]"
        if random.random() < 0.2:
            at = random.randrange(len(body) + 1)
            body = body[:at] + random.choice((*TOKENS, b"]", b"\n\n", b"\r\n")) + body[at + random.randrange(3) :]
    headers: CIMultiDict[str] = CIMultiDict({"Content-Type": kind} if kind else {})
    for name, value in many[0].headers:
        headers.add(name, (value or b"").decode("utf-8", "surrogateescape"))
    if random.random() < 0.2:
        headers["Idempotency-Key"] = f"{supply.count}{supply.text()}"
    if random.random() < 0.1:
        packed = gzip.compress(body, 1)
        cut = packed if random.random() < 0.5 else packed[: random.randrange(len(packed))]
        body = inflated(cut, random.choice(("gzip", "deflate", "br")), 1_000_000)
    captures = {"terminal": supply.text()}
    return Exchange(kind_of(headers.get("Content-Type", "")), body, headers, "/payments", captures, 0.0)


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
