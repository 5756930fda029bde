"""MQTT topics as a sink: one client per broker and process, each message confirmed by the broker."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import uuid4

from penstock.connectors.cloudevents.modes import write
from penstock.connectors.event import Message
from penstock.connectors.header import JSON
from penstock.connectors.mqtt.broker import Broker
from penstock.connectors.mqtt.link import Link
from penstock.connectors.mqtt.pace import MOST, Pace
from penstock.connectors.mqtt.socket import fit, packed
from penstock.connectors.protocol import Settled
from penstock.connectors.site import Site
from penstock.connectors.tally import Tally
from penstock.errors import Unavailable, Undeliverable

if TYPE_CHECKING:
    from paho.mqtt.client import MQTTMessage
    from paho.mqtt.reasoncodes import ReasonCode

    from penstock.connectors.mqtt.endpoint import Mqtt

GRACE = 5.0  # seconds that a close waits for a broker that is away
LINE = 120  # characters of a topic that an error shows
QUOTA = 0x97  # the broker's "quota exceeded": the one refusal that may pass


class Publisher:
    """What all MQTT sinks of a process share for one broker."""

    def __init__(self, broker: Broker, site: Site) -> None:
        self.broker = broker
        self.link: Link | None = None
        self._client_id = f"{site.group}.{site.worker}.actions.{uuid4().hex[:8]}"
        self._opening = asyncio.Lock()
        self._queue: deque[tuple[MqttSink, Message]] = deque()
        self._flying: dict[int, tuple[MqttSink, Message]] = {}
        self._pumping = False
        self._pace = Pace()
        self._sent = 0
        site.on_close(self.close)

    async def open(self) -> None:
        """Connect, unless that is done. Raises `Unavailable` or `ConfigError`."""
        async with self._opening:
            if self.link is not None:
                return
            self._loop = asyncio.get_running_loop()
            link = Link(self.broker, self._client_id, self, keeps=False)
            try:
                await link.open()
            except BaseException:
                await link.close()
                raise
            self.link = link
            self._pump()

    async def close(self) -> None:
        if self.link is not None:
            await self.link.heard()
            await self.link.close()
            self.link = None

    def take(self, sink: MqttSink, messages: Sequence[Message]) -> None:
        """Queue these; they leave at the end of the tick."""
        self._queue.extend([(sink, message) for message in messages])
        if not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def give_up(self, sink: MqttSink) -> list[Message]:
        """Everything of this sink that has not settled, which is forgotten here."""
        mine = [message for owner, message in (*self._flying.values(), *self._queue) if owner is sink]
        self._queue = deque(one for one in self._queue if one[0] is not sink)
        self._flying = {mid: one for mid, one in self._flying.items() if one[0] is not sink}
        return mine

    def up(self, resumed: bool) -> None:
        self._sent = 0
        if self.link is not None:
            self._pump()

    def down(self) -> None:
        if self.link is not None:
            self.link.forget()
            self._accuse(self.link)
        # Sent again from the start, in order, under new numbers: the next session is a clean one.
        self._queue.extendleft(reversed(self._flying.values()))
        self._flying.clear()

    def _accuse(self, link: Link) -> None:
        """Take out the message that the connection ended over, if it is known by now."""
        flying = [*self._flying.values()]
        guilty = self._pace.ended(flying, sent=self._sent, reason=link.ended, seconds=link.age)
        if guilty is None:
            return
        self._flying.clear()
        link.hurry()  # what is behind it has waited long enough
        sink, message = guilty
        why = f"sent alone, it ended the connection each time ({link.problem})"
        sink.tally.settle(message, Undeliverable(f"{_named(message)}: {why}"))

    def arrived(self, message: MQTTMessage) -> None:
        """Nothing is subscribed here."""

    def published(self, mid: int, reason: ReasonCode) -> None:
        found = self._flying.pop(mid, None)
        if found is not None:
            if self._pace.limit < MOST and self.link is not None:
                self._pace.answered()
                self.link.hurry()
            sink, message = found
            sink.tally.settle(message, None if reason.value < 0x80 else _refusal(message, reason, self.broker))

    def read(self) -> None:
        if self._queue:
            self._pump()

    def _pump(self) -> None:
        """Publish from the queue, as many as may be in flight."""
        self._pumping = False
        link = self.link
        if link is None or link.problem is not None:
            return
        limit = min(self._pace.limit, link.receive_maximum)
        while self._queue and len(self._flying) < limit:
            one = sink, message = self._queue[0]
            try:
                properties = sink.properties(message)
                value = message.value or b""
                if len(message.to) * 4 + len(value) + len(properties) + 16 > link.packet_maximum:
                    raise ValueError(f"{len(value)} bytes; the broker takes packets of {link.packet_maximum}")
                mid = link.publish(_target(message.to), value, sink.qos, sink.retain, properties)
            except ValueError as error:
                sink.tally.settle(message, Undeliverable(f"{_named(message)}: {error}"))
                self._queue.popleft()
                continue
            if not mid:
                return
            self._queue.popleft()
            self._sent += 1
            if sink.qos:
                self._flying[mid] = one
            else:
                sink.tally.settle(message)


class MqttSink:
    """Actions to MQTT topics, in order."""

    ordered = True

    def __init__(self, endpoint: Mqtt, publisher: Publisher) -> None:
        self.qos = endpoint.qos
        self.retain = endpoint.retain
        self._publisher = publisher
        self._tally: Tally | None = None

    @property
    def problem(self) -> str | None:
        """None while connected, else one line."""
        return self._publisher.link.problem if self._publisher.link is not None else "not open"

    @property
    def tally(self) -> Tally:
        """Where outcomes are told."""
        assert self._tally is not None, "the sink is not open"
        return self._tally

    async def open(self, settled: Settled) -> None:
        await self._publisher.open()
        self._tally = Tally(settled)

    def send(self, messages: Sequence[Message]) -> None:
        self.tally.left += len(messages)
        self._publisher.take(self, messages)

    async def flush(self) -> None:
        if self._tally is not None:
            await self._tally.flush()

    async def close(self) -> None:
        """Flush. A broker that is away is waited for a moment; then what is left is given back as `Unavailable`."""
        flushing = asyncio.ensure_future(self.flush())
        while not flushing.done():
            await asyncio.wait([flushing], timeout=GRACE)
            if self.problem is not None and not flushing.done():
                error = Unavailable(self._publisher.broker.name, self.problem)
                for message in self._publisher.give_up(self):
                    self.tally.settle(message, error)

    def properties(self, message: Message) -> bytes:
        """CloudEvents attributes, headers and the key, as user properties. Raises ValueError."""
        headers = write(message, "")
        if message.key:
            headers["partitionkey"] = message.key.decode("utf-8", "replace")
        content_type = JSON
        for name, value in (message.headers or {}).items():
            if name.lower() == "content-type":
                content_type = value
            else:
                headers.setdefault(name, value)
        return packed(content_type, headers)


def _target(topic: str) -> str:
    """The topic, which MQTT can carry. Raises ValueError."""
    if not topic:
        raise ValueError("a topic has at least one character")
    return fit(topic)


def _refusal(message: Message, reason: ReasonCode, broker: Broker) -> Exception:
    if reason.value == QUOTA:
        return Unavailable(broker.name, f"the broker refuses {_named(message)}: {reason}")
    return Undeliverable(f"{_named(message)}: the broker refuses it: {reason}")


def _named(message: Message) -> str:
    """Where a message goes, short enough for a line."""
    to = message.to
    return f"mqtt:{to}" if len(to) <= LINE else f"mqtt:{to[:LINE]}... ({len(to):,} characters)"
