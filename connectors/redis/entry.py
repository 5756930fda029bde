"""Records as entries of a stream: how they are written, and described again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

from penstock.connectors.batch import Batch, Partition
from penstock.connectors.cloudevents.attributes import Attributes
from penstock.connectors.cloudevents.modes import read, write
from penstock.connectors.event import Event, Message
from penstock.connectors.header import JSON, texts
from penstock.connectors.store.command import Argument

DATA, KEY = b"data", b"key"

Entry = tuple[bytes, list[bytes]]
"""The id of an entry, and its fields: names and values in turn."""


def stream_key(stream: str, number: int) -> str:
    """The key of one partition's stream.

    >>> stream_key("payments", 3)
    'payments:3'
    """
    return f"{stream}:{number}"


def place(key: bytes, partitions: int) -> int:
    """The partition of a key."""
    return crc32(key) % partitions


def fields(message: Message) -> list[Argument]:
    """A message as the fields of an entry. A header called `data` or `key` is written as `header-data`, `header-key`.

    >>> fields(Message("t", b"{}", key=b"card-1", headers={"tenant": "blue"}))
    [b'data', b'{}', b'key', b'card-1', 'content-type', 'application/json', 'tenant', 'blue']
    """
    found: list[Argument] = []
    if message.value is not None:
        found += (DATA, message.value)
    if message.key is not None:
        found += (KEY, message.key)
    headers = {**write(message), "content-type": JSON, **(message.headers or {})}
    for name, value in headers.items():
        found += (f"header-{name}" if name in ("data", "key") else name, value)
    return found


class StreamBatch(Batch):
    """Entries of one partition, kept as they came and described from there when asked."""

    __slots__ = ("attributes", "confirmed", "entries")

    def __init__(
        self,
        partition: Partition,
        entries: Sequence[Entry],
        received: float,
        confirmed: Callable[[], bytes] | None = None,
    ) -> None:
        self.confirmed = confirmed
        self.entries = entries
        self.attributes: dict[int, Attributes] = {}
        values: list[Any] = []
        keys: list[bytes | str | None] = []
        for index, (_, flat) in enumerate(entries):
            if len(flat) == 2 and flat[0] == DATA:
                values.append(flat[1])
                keys.append(None)
                continue
            value, key, headers = _parts(flat)
            if headers:
                payload, attributes = read(value, headers.items())
                if attributes is not None:
                    self.attributes[index] = attributes
                values.append(payload)
            else:
                values.append(value)
            keys.append(key)
        super().__init__(partition, values, keys=keys, received=received)
        self._describe()

    def _describe(self) -> None:
        """Entries of another kind say more of themselves."""

    def position(self, index: int) -> str:
        milliseconds, _, number = self.entries[index][0].partition(b"-")
        return f"{self.partition}/{int(milliseconds):015d}-{int(number):010d}"

    def origin(self, index: int) -> str:
        where = self.partition
        return f"{where.topic or where.name}/{where.number}"

    def place(self, index: int) -> str:
        return place_of(self.entries[index][0])

    def floor(self) -> str:
        """The place after the confirmed position, which is itself confirmed."""
        return place_of(self.confirmed(), after=1) if self.confirmed is not None else ""

    def event(self, index: int) -> Event:
        id, flat = self.entries[index]
        name = self.partition.name
        value, raw, headers = _parts(flat)
        key = raw.decode("utf-8", "replace") if raw else ""
        time = int(id.partition(b"-")[0]) / 1000
        attributes = self.attributes.get(index)
        if attributes is not None:
            return attributes.event(data=value, key=key, topic=name, time=time)
        return Event(
            f"{self.partition}/{id.decode()}",
            f"redis:{name}",
            time=time,
            key=key,
            topic=name,
            headers=texts(headers.items()),
            data=value,
        )


def place_of(id: bytes, after: int = 0) -> str:
    """An entry's id, both of whose numbers may have twenty digits, at a fixed width.

    >>> place_of(b"1714564800250-3", after=1)
    '00000001714564800250-00000000000000000004'
    """
    milliseconds, _, number = id.partition(b"-")
    return f"{int(milliseconds):020d}-{int(number or 0) + after:020d}"


def _parts(flat: Sequence[bytes]) -> tuple[bytes | None, bytes | None, dict[str, bytes]]:
    """Value, key and headers."""
    found = dict(zip(flat[::2], flat[1::2], strict=True))
    value, key = found.pop(DATA, None), found.pop(KEY, None)
    return value, key, {name.decode("utf-8", "replace"): header for name, header in found.items()}
