"""What flows in and what flows out: CloudEvents 1.0 attributes around a typed payload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")


class Event(msgspec.Struct, frozen=True):
    """One occurrence, with its CloudEvents 1.0 attributes.

    Any stage function may ask for it by naming a parameter `event`.

    - `id`, `source`: together the identity of the occurrence.
    - `time`: when it happened, in seconds since the epoch (UTC).
    - `key`: the order key as text, empty where there is none.
    - `topic`: where it came in: a Kafka topic, an MQTT topic, an HTTP path, a stream.
    - `headers`: what came with it beside the CloudEvents attributes.
    - `data`: the payload, decoded where the pipeline has decoded it, else the original bytes.

    >>> Event(id="1", source="/demo", type="payment").type
    'payment'
    """

    id: str
    source: str = ""
    type: str = ""
    subject: str = ""
    time: float = 0.0
    key: str = ""
    topic: str = ""
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    data: Any = None


class Action(msgspec.Struct, Generic[T], frozen=True):
    """What an act function returns to say more than a payload does: a key, headers, a type.

    `Action(None, key="k")` is a tombstone: a message with a key and no value.

    >>> Action({"blocked": True}, key="card-7").key
    'card-7'
    """

    data: T | None
    key: str | None = None
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    type: str = ""
    subject: str = ""


class Message(msgspec.Struct, eq=False):
    """One action on its way to a sink: encoded, addressed, and owed to the record that caused it.

    `to` is the filled-in target: a topic, a URL, a stream. `id source type subject time` are the CloudEvents
    attributes, which every sink writes in its own binary mode. `batch` and `index` name the record whose
    confirmation waits for this message, `stage` the act that made it; `attempts` counts how often it was sent again.

    One is made for every action, so it is a Struct: a tenth of the cost of a class.
    """

    to: str
    value: bytes | None
    key: bytes | None = None
    headers: Mapping[str, str] | None = None
    id: str = ""
    source: str = ""
    type: str = ""
    subject: str = ""
    time: float = 0.0
    batch: Any = None
    index: int = 0
    stage: str = ""
    attempts: int = 0

    def __repr__(self) -> str:
        return f"Message(to={self.to!r}, id={self.id!r}, key={self.key!r})"
