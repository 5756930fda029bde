"""Lines of the log about single events: each is told, until they are so many that counting them says more."""

from __future__ import annotations

import logging
from typing import Any

from penstock.pipeline.clock import Clock

log = logging.getLogger("penstock")

MOST = 10
"""Lines of one kind in one second; what is beyond is one line together."""


class Lines:
    """Tells of what happens to events, at most ten times a second for each kind of line.

    The rest of a second is one line with their number: a stream in which everything fails must not fail for its log.

    >>> from penstock.pipeline.clock import ManualClock
    >>> lines = Lines(ManualClock())
    >>> [lines.may("failed in decide") for _ in range(12)][-3:]
    [True, False, False]
    """

    def __init__(self, clock: Clock, level: int = logging.INFO) -> None:
        self.clock = clock
        self.level = level
        self._counts: dict[str, int] = {}

    def may(self, kind: str) -> bool:
        """Whether one more line of this kind is told. `kind` ends the sentence that counts the others."""
        count = self._counts.get(kind, 0)
        if not count:
            self.clock.call_later(1.0, lambda: self._sum_up(kind))
        self._counts[kind] = count + 1
        return count < MOST

    def tell(self, text: str, *values: Any) -> None:
        log.log(self.level, text, *values)

    def _sum_up(self, kind: str) -> None:
        more = self._counts.pop(kind) - MOST
        if more > 0:
            self.tell("in the last second %d more events %s", more, kind)
