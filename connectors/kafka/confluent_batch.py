"""Records as confluent-kafka makes them, as batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from penstock.connectors.batch import Partition
from penstock.connectors.kafka.batch import KafkaBatch
from penstock.errors import BadEvent

if TYPE_CHECKING:
    from penstock.connectors.kafka.start import Starts


class ConfluentBatch(KafkaBatch):
    """Records as `confluent_kafka.Message`.

    `unreadable` are those whose headers the client fails to read, for a name that is not UTF-8. Asked again it ends the
    process, so it is asked once.
    """

    __slots__ = ("unreadable",)
    unreadable: Collection[int]

    def offset(self, index: int) -> int:
        found: int = self.records[index].offset()
        return found

    def raw(self, index: int) -> bytes | None:
        found: bytes | None = self.records[index].value()
        return found

    def headers(self, index: int) -> Sequence[tuple[str, bytes | None]]:
        return () if index in self.unreadable else self.records[index].headers() or ()

    def time(self, index: int) -> float:
        kind, millis = self.records[index].timestamp()
        return millis / 1000 if kind else 0.0


class ConfluentBatches:
    """Makes batches of what a poll has brought, without the records that an earlier owner has finished.

    `beginning` asks the broker for the first offset that it still has of a partition.
    """

    def __init__(self, starts: Starts, beginning: Callable[[int], int | None]) -> None:
        import confluent_kafka as ck

        self.starts = starts
        self.beginning = beginning
        # Called for every record, so they are looked up once.
        self._value, self._key, self._headers = ck.Message.value, ck.Message.key, ck.Message.headers
        self._partition: Any = ck.Message.partition
        self._offset: Any = ck.Message.offset

    def of(self, messages: Sequence[Any]) -> list[tuple[int, KafkaBatch]]:
        """One batch for each partition that has some of these."""
        runs: dict[int, list[Any]] = {}
        for number, run in groupby(messages, self._partition):
            if number in runs:
                runs[number].extend(run)
            else:
                runs[number] = list(run)
        now = time.monotonic()
        return [(number, self._batch(number, records, now)) for number, records in runs.items()]

    def _batch(self, number: int, records: list[Any], now: float) -> KafkaBatch:
        end, count = records[-1].offset() + 1, len(records)
        if self.starts.pending:
            records = self.starts.rest(number, records, self._offset, partial(self.beginning, number))
        headers, unreadable = self._read(records)
        values: list[Any] = list(map(self._value, records))
        for index in unreadable:
            values[index] = BadEvent("the name of one of its headers is not UTF-8: confluent-kafka cannot read them")
        batch = ConfluentBatch(
            _NOWHERE,
            records,
            values,
            list(map(self._key, records)),
            headers if any(headers) else None,
            now,
            end=end,
            sparse=len(records) < count,
        )
        batch.unreadable = unreadable
        return batch

    def _read(self, records: list[Any]) -> tuple[list[Any], Collection[int]]:
        """The headers of each, and which are unreadable."""
        found: list[Any] = []
        unreadable: list[int] = []
        rest = map(self._headers, records)
        while True:
            try:
                found.extend(rest)
            except (SystemError, UnicodeError):
                unreadable.append(len(found))
                found.append(None)
            else:
                return found, unreadable


_NOWHERE = Partition("")
