"""Partitions that a group has left to nobody."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection
from math import inf
from typing import TypeAlias

log = logging.getLogger("penstock.kafka")

FIRST = 1.0
"""Seconds until the first look; then twice as long from look to look."""

LAST = 60.0
"""Seconds from look to look at most."""

Answer: TypeAlias = frozenset[int] | None
"""The partitions that the members of a group have, None while the group is not settled or does not say."""


class Orphans:
    """Sees to it that the group which a member has come back to leaves no partition to nobody.

    A partition that moves leaves one member in a first rebalance, and comes to the other in a second, which the first
    asks for. If that one is killed in between and is back before its session ends, the broker hands it what it had kept
    and takes the group for settled: nobody asks for the second rebalance any more. So whoever comes under a name looks
    until every partition is somebody's, and has the group assign them again when twice the same ones were not.

    `ask` has the broker tell the group's assignment, at once or from another thread; `rejoin` asks for a rebalance.
    """

    def __init__(self, topic: str, ask: Callable[[Callable[[Answer], None]], None], rejoin: Callable[[], None]) -> None:
        self.topic = topic
        self._ask = ask
        self._rejoin = rejoin
        self._all: frozenset[int] = frozenset()
        self._answers: deque[Answer] = deque()
        self._missed: frozenset[int] = frozenset()
        self._pause = FIRST
        self._due = inf

    def begin(self, partitions: Collection[int], now: float) -> None:
        """Of these partitions, from now on. With none there is nothing to see to."""
        self._all = frozenset(partitions)
        self._answers = deque()
        self._missed = frozenset()
        self._pause = FIRST
        self._due = now + FIRST

    def look(self, now: float) -> None:
        """Called often, on the thread of the consumer."""
        if not self._all:
            return
        if self._answers:
            self._judge(self._answers.popleft(), now)
        elif now >= self._due:
            self._due = inf
            self._ask(self._answers.append)

    def _judge(self, claimed: Answer, now: float) -> None:
        missed: frozenset[int] = frozenset() if claimed is None else self._all - claimed
        if claimed is not None and not missed:
            self._all = frozenset()
            return
        if missed and missed == self._missed:
            log.warning("%s: partitions %s were left to nobody: the group is joined again", self.topic, sorted(missed))
            self._rejoin()
            missed = frozenset()
        self._missed = missed
        self._pause = min(2 * self._pause, LAST)
        self._due = now + self._pause
