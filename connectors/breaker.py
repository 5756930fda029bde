"""Whether a third party is worth asking: after several failures and a probe that failed, not for a while."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Hashable
from typing import Protocol

from penstock.errors import Unavailable

log = logging.getLogger("penstock.breaker")

KEYS = 3
"""Distinct keys that fail in a row, after which one attempt at a time finds out what the matter is."""

FIRST, LONGEST = 0.1, 5.0
"""Seconds between two probes; doubled from the first to the longest."""


class Watcher(Protocol):
    """Who is told of outages: the engine, which reads nothing new meanwhile."""

    def report(self, dependency: str, error: Unavailable) -> None:
        """It does not answer."""

    def clear(self, dependency: str) -> None:
        """It answers again."""

    def lift(self, dependency: str, why: str) -> None:
        """It still does not answer, and everything goes on without it."""


class Breaker:
    """What is known of one third party, by how attempts on it went.

    Closed, everybody asks. After `KEYS` distinct keys have failed with no success in between, one attempt is made while
    the others wait their turn: when it fails too, the breaker is open. That is an outage, told to the watcher, with a
    probe now and then by whoever waits longest. An outage that lasts longer than `hold` seconds is lifted: those who
    wait and those who come are then told at once, but for who probes. Any success closes it.

    Asking an open breaker costs microseconds. It belongs to the running loop.

    - `name`: what the outage is called.
    - `wary`: whether `turn` has to be asked before an attempt.
    - `opened`: the loop's time since when it is open, None while it is not.
    - `lifted`: it has been open for longer than anybody is held for.
    """

    def __init__(self, name: str, watcher: Watcher | None = None) -> None:
        self.name = name
        self.wary = False
        self.opened: float | None = None
        self.lifted = False
        self.reason = ""
        self._watcher = watcher
        self._loop = asyncio.get_running_loop()
        self._failing: set[Hashable] = set()
        self._waiting: deque[asyncio.Future[bool]] = deque()
        self._probing = False
        self._next = 0.0
        self._wait = FIRST
        self._timer: asyncio.TimerHandle | None = None
        self._end: asyncio.TimerHandle | None = None

    @property
    def problem(self) -> str | None:
        """What it holds events for, None where it holds none."""
        return None if self.opened is None or self.lifted else f"{self.name}: {self.reason}"

    def turn(self) -> asyncio.Future[bool]:
        """When to make an attempt, while `wary`: True for the one that probes. Cancel it to stand back.

        It fails with `Unavailable` where nobody is held any longer.
        """
        found: asyncio.Future[bool] = self._loop.create_future()
        if not self.wary:
            found.set_result(False)
        elif not self._probing and self._loop.time() >= self._next:
            self._probing = True
            found.set_result(True)
        elif self.lifted:
            found.set_exception(Unavailable(self.name, self.reason))
        else:
            self._waiting.append(found)
            self._arm()
        return found

    def succeeded(self) -> None:
        """An attempt was answered."""
        if self._failing:
            self._close()

    def failed(self, key: Hashable, reason: str, *, probe: bool, hold: float, after: float = 0.0) -> None:
        """An attempt for `key` failed; the third party may have asked to be left alone for `after` seconds."""
        self.reason = reason
        if self.wary:
            if probe:
                self._probing = False
                if self.opened is None:
                    self._open(hold)
                self._next = self._loop.time() + max(self._wait, min(after, hold))
                self._wait = min(self._wait * 2, LONGEST)
                self._arm()
            return
        self._failing.add(key)
        if len(self._failing) >= KEYS:
            self.wary = True
            self._next = self._loop.time()

    def ended(self, *, probe: bool) -> None:
        """An attempt ended and tells nothing about the other side."""
        if probe:
            self._probing = False
            self._arm()

    def close(self) -> None:
        """Nobody asks any more."""
        for timer in (self._timer, self._end):
            if timer is not None:
                timer.cancel()

    def _open(self, hold: float) -> None:
        self.opened = self._loop.time()
        self._end = self._loop.call_later(hold, self._lift, hold)
        log.info("%s is asked no more but for probes: %s", self.name, self.reason)
        if self._watcher is not None:
            self._watcher.report(self.name, Unavailable(self.name, self.reason))

    def _lift(self, hold: float) -> None:
        """Hold nobody any longer."""
        self.lifted = True
        why = f"after {hold:g} s its events are dead letters until it answers ({self.reason})"
        log.info("%s: %s", self.name, why)
        if self._watcher is not None:
            self._watcher.lift(self.name, why)
        waiting, self._waiting = self._waiting, deque()
        for one in waiting:
            if not one.done():
                one.set_exception(Unavailable(self.name, self.reason))

    def _close(self) -> None:
        """All is well: everybody may ask."""
        opened, self.opened = self.opened, None
        self.close()
        self._timer = self._end = None
        self._failing.clear()
        self.wary = self.lifted = self._probing = False
        self._wait = FIRST
        waiting, self._waiting = self._waiting, deque()
        for one in waiting:
            if not one.done():
                one.set_result(False)
        if opened is not None:
            log.info("%s is asked again, after %.1f s", self.name, self._loop.time() - opened)
            if self._watcher is not None:
                self._watcher.clear(self.name)

    def _arm(self) -> None:
        """Have the next one probe when that is due."""
        if self._timer is None and self._waiting and not self._probing:
            self._timer = self._loop.call_at(self._next, self._offer)

    def _offer(self) -> None:
        self._timer = None
        while self._waiting and not self._probing:
            first = self._waiting.popleft()
            if not first.done():
                self._probing = True
                first.set_result(True)
