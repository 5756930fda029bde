"""Kafka's records as a batch, and how far a partition's batches are finished."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from penstock.connectors.batch import Batch, Partition
from penstock.connectors.cloudevents import Attributes, Header, read, texts
from penstock.connectors.event import Event

Commits = dict[int, tuple[int, str]]
"""By partition, the offset to commit and a text that is kept with it."""


class KafkaBatch(Batch):
    """Records of one partition, kept as the client made them and described from there when asked.

    Offsets rise but have gaps: transaction markers and compacted records take some. Each client has a subclass that
    knows how its records are read.
    """

    __slots__ = ("attributes", "progress", "records")

    def __init__(
        self,
        partition: Partition,
        records: Sequence[Any],
        values: list[Any],
        keys: list[bytes | None],
        headers: Sequence[Any] | None,
        received: float,
    ) -> None:
        super().__init__(partition, values, keys=keys, received=received)
        self.records = records
        self.progress: Progress | None = None
        self.attributes: dict[int, Attributes | None] | None = None
        if headers is not None:
            self._read(values, headers)

    def _read(self, values: list[Any], headers: Sequence[Sequence[Header] | None]) -> None:
        """Unwrap the CloudEvents among the records."""
        found: dict[int, Attributes | None] = {}
        for index, own in enumerate(headers):
            if own:
                values[index], attributes = read(values[index], own)
                if attributes is not None:
                    found[index] = attributes
        self.attributes = found or None

    def offset(self, index: int) -> int:
        raise NotImplementedError

    def raw(self, index: int) -> bytes | None:
        """The value as it came."""
        raise NotImplementedError

    def headers(self, index: int) -> Sequence[Header]:
        raise NotImplementedError

    def time(self, index: int) -> float:
        """The record's timestamp, in seconds since the epoch; 0.0 where it has none."""
        raise NotImplementedError

    def position(self, index: int) -> str:
        return f"{self.origin(index)}/{self.place(index)}"

    def origin(self, index: int) -> str:
        where = self.partition
        return f"{where.topic or where.name}/{where.number}"

    def place(self, index: int) -> str:
        return f"{self.offset(index):019d}"

    def floor(self) -> str:
        """The committed offset, once this process has committed one."""
        committed = self.progress.committed if self.progress is not None else -1
        return f"{committed:019d}" if committed >= 0 else ""

    def event(self, index: int) -> Event:
        name = self.partition.name
        raw = self.keys[index] if self.keys is not None else None
        key = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw or ""
        attributes = self.attributes.get(index) if self.attributes is not None else None
        if attributes is not None:
            return attributes.event(data=self.raw(index), key=key, topic=name, time=self.time(index))
        return Event(
            f"{self.partition}/{self.offset(index)}",
            f"kafka:{name}",
            time=self.time(index),
            key=key,
            topic=name,
            headers=texts(self.headers(index)),
            data=self.raw(index),
        )


class Progress:
    """What one assigned partition has handed over, and up to where that is finished.

    `next` is the offset after the contiguous finished prefix, None while nothing has finished; `committed` what the
    broker has confirmed of it.
    """

    __slots__ = ("batches", "committed", "fenced", "next", "partition")

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.batches: deque[KafkaBatch] = deque()
        self.next: int | None = None
        self.committed = -1
        self.fenced = False

    def add(self, batch: KafkaBatch) -> None:
        self.prune()
        batch.progress = self
        self.batches.append(batch)

    def prune(self) -> None:
        """Let go of the batches at the front that are finished whole."""
        batches = self.batches
        while batches and batches[0].left == 0:
            batch = batches.popleft()
            self.next = batch.offset(len(batch) - 1) + 1

    def due(self) -> int | None:
        """The offset to commit, None where that would not be news."""
        self.prune()
        if self.batches:
            front = self.batches[0]
            finished = front.finished()
            if finished:
                self.next = front.offset(finished - 1) + 1
        return self.next if self.next is not None and self.next > self.committed else None

    def fence(self) -> None:
        """Have the engine start no more of it."""
        self.fenced = True
        for batch in self.batches:
            batch.fenced = True

    def running(self) -> int:
        """How many records were started and are not finished."""
        return sum(batch.owed.count(1, 0, batch.taken) for batch in self.batches)
