"""Kafka's records as a batch, and how far a partition's batches are finished."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from penstock.connectors.batch import Batch, Partition
from penstock.connectors.cloudevents.attributes import Attributes
from penstock.connectors.cloudevents.modes import read
from penstock.connectors.event import Event
from penstock.connectors.handed import Handed
from penstock.connectors.header import Header, texts
from penstock.connectors.kafka.note import Span, write

Commits = dict[int, tuple[int, str]]
"""By partition, the offset to commit and a text that is kept with it."""

SPAN = 1_000_000
"""Offsets of a partition between its commit and its newest record, past which it is read no further."""

_UNFINISHED = re.compile(rb"\x01+")


class KafkaBatch(Batch):
    """Records of one partition, kept as the client made them and described from there when asked.

    Offsets rise but have gaps: transaction markers and compacted records take some. Each client has a subclass that
    knows how its records are read.

    - `end`: the offset after its last record, and after those left out behind it.
    - `sparse`: records were left out, since an earlier owner had finished them.
    """

    __slots__ = ("attributes", "end", "progress", "records", "sparse")

    def __init__(
        self,
        partition: Partition,
        records: Sequence[Any],
        values: list[Any],
        keys: list[bytes | None],
        headers: Sequence[Any] | None,
        received: float,
        *,
        end: int,
        sparse: bool = False,
    ) -> None:
        super().__init__(partition, values, keys=keys, received=received)
        self.records = records
        self.end = end
        self.sparse = sparse
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
        committed = self.progress.committed[0] if self.progress is not None else -1
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


class Progress(Handed[KafkaBatch]):
    """What one assigned partition has handed over, and what of that is finished.

    - `next`: the offset of the first record that is not finished, or the one after the last; None before the first.
    - `end`: the offset after the last record.
    - `committed`: the last commit, as the broker has confirmed it.
    - `member`: the source that reads the partition.
    """

    __slots__ = ("_crowded", "committed", "end", "member", "next")

    def __init__(self, partition: Partition, member: Any = None) -> None:
        super().__init__(partition)
        self.member = member
        self.next: int | None = None
        self.end = 0
        self.committed: tuple[int, str] = (-1, "")
        self._crowded = 16

    def add(self, batch: KafkaBatch) -> None:
        """Take in the next records. An empty batch stands for records that were all finished before."""
        if self.next is None and len(batch):
            self.next = batch.offset(0)
        self.end = batch.end
        if len(batch):
            batch.progress = self
            self.batches.append(batch)
        if len(self.batches) > self._crowded:
            self.prune()

    def prune(self) -> None:
        """Let go of the batches that are finished whole, wherever they are: what is between the others is finished."""
        self.batches = deque(batch for batch in self.batches if batch.left)
        self._crowded = 2 * len(self.batches) + 16
        self.next = self._first()

    def _first(self) -> int | None:
        front = next((batch for batch in self.batches if batch.left), None)
        return front.offset(front.finished()) if front is not None else self.end or self.next

    def due(self) -> tuple[int, str] | None:
        """The offset and the note to commit, None where that would not be news."""
        self.prune()
        return self.ahead()

    def ahead(self) -> tuple[int, str] | None:
        """The same, where records pass for finished for the moment of the question: nothing is let go of."""
        first = self._first()
        if first is None or first < self.committed[0]:
            return None
        found = first, write(self.partition.topic, first, self.above())
        return found if found != self.committed else None

    def above(self) -> Iterator[Span]:
        """The spans of offsets above the prefix that are finished; what has no record counts as finished."""
        at: int | None = None
        for batch in self.batches:
            for first, last in _unfinished(batch):
                if at is not None and at < first:
                    yield Span(at, first)
                at = last + 1
        if at is not None and at < self.end:
            yield Span(at, self.end)

    @property
    def span(self) -> int:
        """How many offsets lie between the first that is not finished and the newest."""
        return self.end - self.next if self.next is not None else 0

    def forget(self) -> None:
        """Have it come again: nothing of it is committed, and what is still decided for its records is dropped."""
        self.abandon()
        self.batches.clear()
        self.next, self.end = None, 0


def _unfinished(batch: KafkaBatch) -> Iterator[tuple[int, int]]:
    """The first and last offsets of the runs of records that are not finished."""
    for run in _UNFINISHED.finditer(batch.owed):
        if batch.sparse:
            # What was left out of the run is finished.
            for index in range(*run.span()):
                yield batch.offset(index), batch.offset(index)
        else:
            yield batch.offset(run.start()), batch.offset(run.end() - 1)
