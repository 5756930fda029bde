"""Records as kafka-python makes them, as batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from penstock.connectors.batch import Partition
from penstock.connectors.kafka.batch import KafkaBatch

if TYPE_CHECKING:
    from penstock.connectors.kafka.start import Starts


class PythonBatch(KafkaBatch):
    """Records as `kafka.consumer.fetcher.ConsumerRecord`."""

    __slots__ = ()

    def offset(self, index: int) -> int:
        found: int = self.records[index].offset
        return found

    def raw(self, index: int) -> bytes | None:
        found: bytes | None = self.records[index].value
        return found

    def headers(self, index: int) -> Sequence[tuple[str, bytes | None]]:
        return self.records[index].headers or ()

    def time(self, index: int) -> float:
        millis = self.records[index].timestamp
        return millis / 1000 if millis is not None and millis >= 0 else 0.0


def batch(
    number: int, records: list[Any], now: float, starts: Starts, beginning: Callable[[int], int | None]
) -> KafkaBatch:
    """What a poll has brought of one partition, without the records that an earlier owner has finished.

    `beginning` asks the broker for the first offset that it still has of a partition.
    """
    end, count = records[-1].offset + 1, len(records)
    if starts.pending:
        records = starts.rest(number, records, _OFFSET, partial(beginning, number))
    headers = [record.headers for record in records]
    return PythonBatch(
        _NOWHERE,
        records,
        [record.value for record in records],
        [record.key for record in records],
        headers if any(headers) else None,
        now,
        end=end,
        sparse=len(records) < count,
    )


_NOWHERE = Partition("")
_OFFSET: Callable[[Any], int] = attrgetter("offset")
