"""Batches that a broker refuses for their size: halved, until the record that is too large stands alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from operator import attrgetter

from penstock.connectors.event import Message
from penstock.errors import PenstockError, Undeliverable

Failures = list[tuple[Message, PenstockError]]

SMALLEST = 1_000
"""Bytes of a batch, below which making it smaller is of no use."""


class Oversized(Undeliverable):
    """A broker refused a whole batch for its size. Which of its records is too large it does not say."""


class BatchSize:
    """How many bytes a producer puts into one batch: fewer, each time that a topic has refused one of several records.

    >>> size = BatchSize(1_000_000)
    >>> size.shrink()
    >>> size.bytes
    250000
    """

    def __init__(self, bytes: int) -> None:
        self.bytes = bytes

    def shrink(self) -> None:
        """A topic allows less than this."""
        self.bytes = max(self.bytes // 4, SMALLEST)


class Halving:
    """What one sink hands to its producer.

    A topic may allow less than a producer's batch holds. Both clients then fail every record of the batch, the
    innocent ones too. These are sent again by themselves, in halves, and what comes meanwhile waits behind them.
    Records that were under way behind the refused batch have overtaken it then.
    """

    def __init__(self, produce: Callable[[Sequence[Message]], None]) -> None:
        self._produce = produce
        self._flying = 0
        self._groups: deque[list[Message]] = deque()
        self._current: list[Message] = []
        self._suspects: list[Message] = []
        self._waits = False
        self._behind: list[Message] = []

    def send(self, messages: Sequence[Message]) -> None:
        if self._waits:
            self._behind += messages
        else:
            self._hand(messages)

    def came_out(self, delivered: Sequence[Message], failed: Sequence[tuple[Message, PenstockError]]) -> Failures:
        """Take in what has become of messages; those that failed for good."""
        self._flying -= len(delivered) + len(failed)
        if not failed and not self._waits:
            return []
        alone = len(self._current) == 1
        final: Failures = []
        for message, error in failed:
            if isinstance(error, Oversized) and not alone:
                self._suspects.append(message)
            else:
                final.append((message, error))
        self._waits = bool(self._suspects or self._groups or self._current)
        if self._waits and not self._flying:
            self._go_on()
        return final

    def _go_on(self) -> None:
        """Everything handed over has come out: send the next group, or what came meanwhile."""
        # A client that aborts what it has tells of it in any order; actions of a key were made one after the other.
        suspects, self._suspects = sorted(self._suspects, key=attrgetter("time")), []
        # What was sent by itself is halved; what was refused on its way with others is a first group.
        middle = (len(suspects) + 1) // 2 if self._current else len(suspects)
        self._groups.extendleft(part for part in (suspects[middle:], suspects[:middle]) if part)
        self._current = self._groups.popleft() if self._groups else []
        self._waits = bool(self._current)
        if self._current:
            self._hand(self._current)
        elif self._behind:
            behind, self._behind = self._behind, []
            self._hand(behind)

    def _hand(self, messages: Sequence[Message]) -> None:
        self._flying += len(messages)
        self._produce(messages)
