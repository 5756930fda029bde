"""MQTT messages as a batch, by column."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from msgspec.structs import replace

from penstock.connectors.batch import Batch, Partition
from penstock.connectors.cloudevents.attributes import Attributes
from penstock.connectors.cloudevents.modes import read
from penstock.connectors.event import Event
from penstock.errors import BadEvent

if TYPE_CHECKING:
    from paho.mqtt.client import MQTTMessage


class Said(NamedTuple):
    """What a message says beside its payload, which most do not."""

    content_type: str
    properties: list[tuple[str, str]]
    retained: bool


class Columns:
    """Messages as they arrive, by column.

    paho's own objects are let go at once: each holds some sixty others, which the garbage collector would go through
    again and again for as long as the event is in flight.
    """

    __slots__ = ("mids", "payloads", "said", "topics")

    def __init__(self) -> None:
        self.mids: list[int] = []
        self.topics: list[str] = []
        self.payloads: list[bytes] = []
        self.said: dict[int, Said] = {}

    def add(self, message: MQTTMessage, topic: str) -> None:
        """One more, whose topic is read already."""
        properties = vars(message.properties)
        if message.retain or "ContentType" in properties or "UserProperty" in properties:
            content_type, user = properties.get("ContentType", ""), properties.get("UserProperty", [])
            self.said[len(self.mids)] = Said(content_type, user, message.retain)
        self.mids.append(message.mid)
        self.topics.append(topic)
        self.payloads.append(bytes(message.payload))


class MqttBatch(Batch):
    """Messages of one subscription that arrived in one loop tick."""

    __slots__ = ("_attributes", "_id", "columns")

    def __init__(
        self, partition: Partition, columns: Columns, changed: Callable[[Batch], None], received: float
    ) -> None:
        self.columns = columns
        self._id = ""
        self._attributes: dict[int, Attributes] = {}
        values: list[Any] = columns.payloads
        if columns.said:
            values = values.copy()
            for index, said in columns.said.items():
                values[index], found = read(values[index], said.properties, prefix="", content_type=said.content_type)
                if found is not None:
                    self._attributes[index] = found
        super().__init__(partition, values, changed=changed, received=received)
        if self._attributes:
            keys = [self._partition_key(index) for index in range(len(values))]
            self.keys = keys if any(keys) else None

    def event(self, index: int) -> Event:
        topic, data = self.columns.topics[index], self.values[index]
        if isinstance(data, BadEvent):
            data = self.columns.payloads[index]
        said, found = self.columns.said.get(index), self._attributes.get(index)
        headers: dict[str, str] = {}
        if said is not None:
            headers = dict(said.properties) if found is None else dict(found.headers)
            if said.content_type:
                headers["content-type"] = said.content_type
            if said.retained:
                headers["mqtt-retain"] = "true"
        if found is None:
            return Event(self.position(index), f"mqtt:{topic}", headers=headers, topic=topic, data=data)
        event = found.event(topic=topic, key=self._partition_key(index) or "", data=data)
        return replace(event, headers=headers)

    def position(self, index: int) -> str:
        """The CloudEvent's id, or one that was given on arrival."""
        found = self._attributes.get(index)
        if found is not None:
            return found.id
        if not self._id:
            self._id = uuid4().hex
        return f"{self._id}-{index:05d}"

    def _partition_key(self, index: int) -> str | None:
        found = self._attributes.get(index)
        return found.headers.get("partitionkey") if found is not None else None
