"""MQTT topics as a source: acknowledged when finished, in the order of receipt."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.connectors import template
from penstock.connectors.batch import Batch, Partition
from penstock.connectors.bell import Bell
from penstock.connectors.mqtt.batch import Columns, MqttBatch
from penstock.connectors.mqtt.broker import Broker
from penstock.connectors.mqtt.link import LONGEST, Link
from penstock.errors import BadEvent, ConfigError, Unavailable

if TYPE_CHECKING:
    from paho.mqtt.client import MQTTMessage
    from paho.mqtt.reasoncodes import ReasonCode

    from penstock.connectors.mqtt.endpoint import Mqtt
    from penstock.connectors.mqtt.former import Former


class MqttSource:
    """One subscription. Its backpressure is MQTT's Receive Maximum: the broker stops at that many unfinished.

    A session that was subscribed otherwise (`before`), by another number of workers, is so no longer. `former` finds
    what workers left that are no more.
    """

    def __init__(
        self,
        endpoint: Mqtt,
        broker: Broker,
        client_id: str,
        subscription: str,
        *,
        before: str = "",
        former: Former | None = None,
    ) -> None:
        self.name = endpoint.address
        self._otherwise = before
        self._former = former
        self._drain: asyncio.Task[None] | None = None
        self._received = 0
        self._broker = broker
        self._client_id = client_id
        self._subscription = subscription
        self._plain = not subscription.startswith("$share/")
        self._qos = endpoint.qos
        self._partition = Partition(endpoint.topic)
        self._match = template.matcher(endpoint.topic).fullmatch if template.names(endpoint.topic) else None
        self._link: Link | None = None
        self._problem: str | None = "not opened yet"
        self._opened = False
        self._stopped = False
        self._arrived = Columns()
        self._ready: list[Batch] = []
        self._held = 0
        self._bell = Bell()
        self._acknowledging = False
        self._subscribing: asyncio.Task[None] | None = None
        # What this connection owes the broker, in the order of receipt, and what earlier ones of the session owed.
        self._owed: deque[tuple[MqttBatch, Sequence[int]]] = deque()
        self._before: dict[int, tuple[MqttBatch, int]] = {}

    @property
    def problem(self) -> str | None:
        """None while subscribed, else one line."""
        return self._problem or (self._link.problem if self._link is not None else "not open")

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        link = Link(self._broker, self._client_id, self, keeps=True)
        self._link = link
        try:
            await link.open()
            if self._former is not None:
                await self._former.adopt(self._take_over)
            await self._subscribe_to(link)
        except BaseException as error:
            self._problem = str(error) or type(error).__name__
            await link.close()
            self._link = None
            if self._former is not None:
                await self._former.close()
            raise
        self._problem = None
        self._opened = True
        if self._former is not None:
            self._drain = self._loop.create_task(self._former.drain())

    async def receive(self) -> Sequence[Batch]:
        while not self._ready and not self._stopped:
            await self._bell.wait()
        if self._stopped:
            return []
        ready, self._ready = self._ready, []
        self._held = 0
        if self._link is not None:
            self._link.resume()
        return ready

    def stop(self) -> None:
        self._stopped = True
        self._held = 0
        if self._link is not None:
            self._link.resume()
        self._wake()

    async def confirm(self) -> None:
        self._acknowledge()
        if self._former is not None:
            await self._former.confirm()
        if self._link is not None:
            await self._link.heard()

    async def close(self) -> None:
        self.stop()
        for task in (self._subscribing, self._drain):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        if self._former is not None:
            await self._former.confirm()
            await self._former.close()
        if self._link is not None:
            await self.confirm()
            await self._link.close()
            self._link = None
        self._owed.clear()
        self._before.clear()

    def lag(self) -> int | None:
        return None

    def up(self, resumed: bool) -> None:
        if not resumed:
            # The broker knows nothing of what it sent before; it will send none of it again.
            self._before.clear()
        # Mosquitto 2.0 keeps a session over its restart, and forgets that it had a part in a shared subscription.
        if self._opened and not (resumed and self._plain):
            self._problem = "subscribing again"
            if self._subscribing is not None:
                self._subscribing.cancel()  # it may still rest after a refusal
            self._subscribing = self._loop.create_task(self._subscribe())

    def down(self) -> None:
        for batch, indexes in self._owed:
            for index in indexes:
                self._before[batch.columns.mids[index]] = (batch, index)
        self._owed.clear()

    def arrived(self, message: MQTTMessage) -> None:
        topic = _topic(message)
        if self._before and message.qos:
            known = self._before.pop(message.mid, None)
            if known is not None and message.dup:
                batch, index = known
                if batch.columns.topics[index] == topic and batch.columns.payloads[index] == message.payload:
                    # Sent again because we had not finished it when the connection broke. It still runs.
                    self._make_batch()
                    self._owed.append((batch, (index,)))
                    self._changed(batch)
                    return
        if not self._stopped:  # else it comes again to who is next
            self._received += 1
            self._arrived.add(message, topic)

    def published(self, mid: int, reason: ReasonCode) -> None:
        """Nothing is published here."""

    def read(self) -> None:
        self._make_batch()
        if self._ready:
            self._wake()
        # Brokers exceed Receive Maximum now and then, and QoS 0 knows none.
        if self._held > 2 * self._broker.receive_maximum and self._link is not None:
            self._link.pause()

    def _make_batch(self) -> None:
        columns = self._arrived
        if not columns.mids:
            return
        self._arrived = Columns()
        batch = MqttBatch(self._partition, columns, self._changed, self._loop.time())
        if self._match is not None:
            batch.captures = [self._captures(batch, index) for index in range(len(batch))]
        self._owed.append((batch, range(len(batch))))
        self._ready.append(batch)
        self._held += len(batch)

    def _captures(self, batch: MqttBatch, index: int) -> dict[str, str]:
        assert self._match is not None
        topic = batch.columns.topics[index]
        match = self._match(topic)
        if match is not None:
            return match.groupdict()
        # An empty level, which `+` takes and a field does not.
        assert isinstance(batch.values, list)
        if batch.values is batch.columns.payloads:
            batch.values = batch.values.copy()
        batch.values[index] = BadEvent(f"topic {topic!r} leaves a level of {self._partition.name!r} empty")
        return {}

    def _changed(self, _: Batch) -> None:
        if not self._acknowledging:
            self._acknowledging = True
            self._loop.call_soon(self._acknowledge)

    def _acknowledge(self) -> None:
        """Acknowledge the finished messages at the front; MQTT wants the order of receipt."""
        self._acknowledging = False
        if self._link is None:
            return
        while self._owed:
            batch, indexes = self._owed[0]
            owed = batch.owed
            for at, index in enumerate(indexes):
                if owed[index]:
                    self._owed[0] = (batch, indexes[at:])
                    return
                mid = batch.columns.mids[index]
                if mid:
                    self._link.acknowledge(mid)
            self._owed.popleft()

    async def _subscribe_to(self, link: Link) -> None:
        """Subscribe. Raises `Unavailable` or `ConfigError`."""
        await link.requests.subscribe(self._subscription, self._qos)
        if self._otherwise and link.resumed and not self._opened:
            await link.requests.unsubscribe(self._otherwise)

    async def _subscribe(self) -> None:
        """Subscribe again, to a broker that has forgotten our session."""
        assert self._link is not None
        while True:
            try:
                await self._subscribe_to(self._link)
                self._problem = None
                return
            except Unavailable:  # the connection is lost again: its return begins anew
                return
            except ConfigError as error:
                self._problem = str(error)
            await asyncio.sleep(LONGEST)

    def _take_over(self, batches: Sequence[Batch]) -> None:
        self._ready += batches
        self._wake()

    def _wake(self) -> None:
        self._bell.ring()


def _topic(message: MQTTMessage) -> str:
    try:
        return message.topic
    except UnicodeDecodeError as error:  # brokers refuse such topics; a bridge might not
        return bytes(error.object).decode("utf-8", "replace")
