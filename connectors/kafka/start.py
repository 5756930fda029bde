"""Where the partitions of a consumer begin, and what of them was finished before they came to it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from penstock.connectors.kafka.client import Broken
from penstock.connectors.kafka.note import Span, read

log = logging.getLogger("penstock.kafka")


class Starts:
    """What the group's commits say of the partitions that a consumer was given.

    - `skipped`: how many records were left out because an earlier owner had finished them.
    - `first`: the consumer was not open before, so that "latest" may mean the end; later it no longer does.
    """

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.skipped = 0
        self.first = True
        self._committed: dict[int, int] = {}
        self._finished: dict[int, deque[Span]] = {}

    def compare(self, before: str, now: str) -> None:
        """Raise `Broken` where the topic is another than when the consumer was opened."""
        if before and now and before != now:
            log.warning("%s: the topic was deleted and made anew: it was %s, it is %s", self.topic, before, now)
            raise Broken(f"topic {self.topic!r} was deleted and made anew")

    def resolve(self, identity: str, commits: Mapping[int, tuple[int, str | None]]) -> list[int]:
        """Take note of the commits of new partitions; the ones that must be read from their beginning after all.

        `identity` is the topic's, as it is now. A commit of another topic, that had the same name, says nothing.
        """
        anew = []
        for number, (offset, text) in commits.items():
            self._committed.pop(number, None)
            self._finished.pop(number, None)
            note = read(text, offset)
            if note is not None and note.topic and identity and note.topic != identity:
                anew.append(number)
                log.warning(
                    "%s/%d: the topic was deleted and made anew (it was %s, it is %s): it is read from its beginning, "
                    "and the commit %d of the old one is void",
                    self.topic,
                    number,
                    note.topic,
                    identity,
                    offset,
                )
                continue
            self._committed[number] = offset
            if note is not None and note.finished:
                self._finished[number] = deque(note.finished)
        return anew

    def rest(
        self, number: int, records: list[Any], offset: Callable[[Any], int], first: Callable[[], int | None]
    ) -> list[Any]:
        """Those of a partition's records that nobody has finished.

        `first` asks the broker for the first offset that it still has; it is called where records are missing.
        """
        if number in self._committed:
            self._begin(number, offset(records[0]), first)
        if number not in self._finished:
            return records
        spans = self._finished[number]
        left = [record for record in records if not _within(spans, offset(record))]
        if not spans:
            del self._finished[number]
        self.skipped += len(records) - len(left)
        return left

    def _begin(self, number: int, offset: int, first: Callable[[], int | None]) -> None:
        """Compare the partition's first record with where it should have begun."""
        committed = self._committed.pop(number)
        if offset < committed:
            self._finished.pop(number, None)
            log.warning(
                "%s/%d: the commit %d is beyond the partition's end: it is read from its beginning, %d. "
                "The broker has lost records, or the topic was made anew",
                self.topic,
                number,
                committed,
                offset,
            )
        elif offset > committed and (kept := first()) is not None and kept > committed:
            log.error(
                "%s/%d: offsets %d to %d were deleted by the broker before anybody read them: "
                "the topic's retention is too short",
                self.topic,
                number,
                committed,
                kept - 1,
            )

    @property
    def pending(self) -> bool:
        """Whether anything is to be looked at still: `rest` need not be called where nothing is."""
        return bool(self._committed or self._finished)


def _within(spans: deque[Span], offset: int) -> bool:
    """Whether an offset lies in one of these. Spans that end before it are let go of: offsets rise."""
    while spans and spans[0].stop <= offset:
        spans.popleft()
    return bool(spans) and spans[0].start <= offset
