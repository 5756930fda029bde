"""Topics inside the process: what `Memory` endpoints read and write, and tests look into."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias
from zlib import crc32

from penstock.connectors.cloudevents.modes import write
from penstock.connectors.event import Message
from penstock.connectors.header import JSON
from penstock.connectors.site import Site
from penstock.errors import Unavailable

Extra: TypeAlias = "Message | Mapping[str, str]"
"""What belongs to a record beside key and value: its headers, or the message that they are written from."""


class Entry(NamedTuple):
    """One record of a topic, as `Topic.entries` shows it."""

    partition: int
    offset: int
    key: bytes | None
    value: Any
    headers: Mapping[str, str]


class Log:
    """One partition: its records as columns.

    `extras` holds what records have beside key and value, by offset; `envelopes` the offsets of CloudEvents that came
    from outside and are yet to be read.
    """

    __slots__ = ("envelopes", "extras", "keys", "values")

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.keys: list[bytes | None] = []
        self.extras: dict[int, Extra] = {}
        self.envelopes: set[int] = set()

    def __len__(self) -> int:
        return len(self.values)

    def headers(self, offset: int) -> dict[str, str]:
        """The record's headers, CloudEvents attributes in binary mode (`ce_id`) among them."""
        extra = self.extras.get(offset)
        if extra is None:
            return {}
        if isinstance(extra, Message):
            return {**write(extra), "content-type": JSON, **(extra.headers or {})}
        return dict(extra)


class Topic:
    """An ordered log in partitions. What each group has confirmed is kept beside it."""

    def __init__(self, name: str, partitions: int = 1) -> None:
        self.name = name
        self.logs = [Log() for _ in range(partitions)]
        self.confirmed: dict[str, list[int]] = {}
        self.readers: set[Callable[[], None]] = set()
        self.keyed = False
        self._next = 0

    def __len__(self) -> int:
        return sum(map(len, self.logs))

    def position(self, group: str) -> list[int]:
        """The offset of each partition up to which a group has confirmed."""
        return self.confirmed.setdefault(group, [0] * len(self.logs))

    def place(self, key: bytes | None) -> int:
        """The partition of a key; records without one take turns."""
        count = len(self.logs)
        if count == 1:
            return 0
        if key is not None:
            return crc32(key) % count
        self._next += 1
        return self._next % count

    def put(
        self,
        value: Any,
        *,
        key: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        partition: int | None = None,
    ) -> tuple[int, int]:
        """Append one record and wake its readers; its partition and offset."""
        number = self.place(key) if partition is None else partition
        self.append(number, value, key, headers)
        self.wake()
        return number, len(self.logs[number]) - 1

    def extend(self, values: Sequence[Any], *, keys: Sequence[bytes | None] | None = None, partition: int = 0) -> None:
        """Append many records without headers to one partition."""
        log = self.logs[partition]
        log.values.extend(values)
        log.keys.extend(keys if keys is not None else [None] * len(values))
        self.keyed = self.keyed or keys is not None
        self.wake()

    def append(self, number: int, value: Any, key: bytes | None, extra: Extra | None) -> None:
        """Append one record without waking anybody."""
        log = self.logs[number]
        if extra:
            log.extras[len(log.values)] = extra
            if not isinstance(extra, Message) and _is_event(extra):
                log.envelopes.add(len(log.values))
        if key is not None:
            self.keyed = True
        log.values.append(value)
        log.keys.append(key)

    def wake(self) -> None:
        """Tell the readers that something changed."""
        for reader in tuple(self.readers):
            reader()

    def entries(self) -> list[Entry]:
        """Everything in the topic, partition by partition."""
        return [
            Entry(number, offset, log.keys[offset], log.values[offset], log.headers(offset))
            for number, log in enumerate(self.logs)
            for offset in range(len(log))
        ]


class Topics:
    """All topics of a process: a broker without a server.

    >>> topics = Topics()
    >>> topics.topic("payments").put(b'{"amount": 7}', key=b"card-1")
    (0, 0)
    >>> [entry.value for entry in topics.topic("payments").entries()]
    [b'{"amount": 7}']
    """

    def __init__(self) -> None:
        self._topics: dict[str, Topic] = {}
        self._available = True

    @classmethod
    def of(cls, site: Site) -> Topics:
        """The topics of a site, made at the first call."""
        return site.share("memory", cls)

    def topic(self, name: str, partitions: int = 1) -> Topic:
        """A topic by name; who asks first says how many partitions it has."""
        found = self._topics.get(name)
        if found is None:
            found = self._topics[name] = Topic(name, partitions)
        return found

    def names(self) -> list[str]:
        return list(self._topics)

    @property
    def available(self) -> bool:
        """Whether the broker answers. Set to False it is down, for tests of outages."""
        return self._available

    @available.setter
    def available(self, available: bool) -> None:
        self._available = available
        for topic in self._topics.values():
            topic.wake()

    def check(self) -> None:
        """Raise `Unavailable` while the broker is down."""
        if not self._available:
            raise Unavailable("memory", "the topics of this process were taken down")

    def write(self, messages: Iterable[Message]) -> None:
        """Append messages to the topics they are addressed to."""
        topic: Topic | None = None
        touched: dict[str, Topic] = {}
        for message in messages:
            if topic is None or topic.name != message.to:
                topic = touched[message.to] = self.topic(message.to)
            topic.append(topic.place(message.key), message.value, message.key, message)
        for each in touched.values():
            each.wake()


def _is_event(headers: Mapping[str, str]) -> bool:
    return "ce_specversion" in headers or headers.get("content-type", "").lower().startswith("application/cloudevents")
