"""What the parent of workers knows of events that may end the process which runs them, and how it judges a death."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import msgspec

WATCH = 120.0
"""Seconds after a death in which every worker writes down what it runs: longer than a broker waits before it gives
what the dead one had to somebody else."""

CONVICTS = 2
"""Deaths alone that convict an event."""

OTHERS = "?"
"""In a worker's list of what it runs: something that it cannot name."""


class Orders(msgspec.Struct, frozen=True):
    """What workers are to do, until the moment `until` (seconds since the epoch): write down what they run; run each
    of `alone` by itself; keep each of `guilty` as a dead letter, for the reason that is given."""

    until: float = 0.0
    alone: frozenset[str] = frozenset()
    guilty: dict[str, str] = {}

    def write(self, path: Path) -> None:
        """Leave them where workers read them, whole or not at all."""
        draft = path.with_suffix(".new")
        draft.write_bytes(msgspec.json.encode(self))
        draft.replace(path)

    @classmethod
    def read(cls, path: Path) -> Orders:
        """What is written there; nothing to do where nothing is."""
        return msgspec.json.decode(path.read_bytes(), type=Orders) if path.exists() else Orders()


class Suspects:
    """Judges deaths by what the dead worker had written down, event by event.

    One that ran alone when its worker died has died alone; the second time it is guilty. Several that ran together are
    suspects, to run alone from now on. Nothing written down means that nobody watched yet.

    >>> suspects = Suspects()
    >>> suspects.judge([], "SIGSEGV")
    'what runs is written down from now on'
    >>> suspects.judge(["a", "b"], "SIGSEGV")
    '2 events were in flight: each of them runs alone next time'
    >>> suspects.judge(["b"], "SIGSEGV"), suspects.judge(["b"], "SIGSEGV")
    ('one event ran alone: once more will convict it', 'one event ran alone, again: it will be a dead letter')
    >>> sorted(suspects.orders.alone), suspects.orders.guilty["b"]
    (['a'], 'it ended the process (SIGSEGV) each of the 2 times that it ran alone')
    """

    def __init__(self) -> None:
        self.alone: set[str] = set()
        self.guilty: dict[str, str] = {}
        self.deaths: Counter[str] = Counter()
        self.until = 0.0

    @property
    def orders(self) -> Orders:
        return Orders(self.until, frozenset(self.alone), dict(self.guilty))

    def judge(self, running: list[str], how: str) -> str:
        """A worker has died of itself (`how`: a signal, an exit code) while these ran. What follows, in words."""
        now = time.time()
        watched, self.until = now < self.until, now + WATCH
        if not running or not watched:
            return "what runs is written down from now on"
        if len(running) > 1:
            self.alone.update(mark for mark in running if mark != OTHERS)
            return f"{len(running)} events were in flight: each of them runs alone next time"
        [mark] = running
        self.alone.add(mark)
        self.deaths[mark] += 1
        if self.deaths[mark] < CONVICTS:
            return "one event ran alone: once more will convict it"
        self.alone.discard(mark)
        self.guilty[mark] = f"it ended the process ({how}) each of the {CONVICTS} times that it ran alone"
        return "one event ran alone, again: it will be a dead letter"
