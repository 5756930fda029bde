"""Which dependencies are down, and the work that waits for them."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import TypeVar

from penstock.errors import Unavailable
from penstock.pipeline.clock import Clock
from penstock.pipeline.engine.verdict import reason_of

T = TypeVar("T")

log = logging.getLogger("penstock")

FIRST_PROBE, LONGEST_PROBE = 0.1, 5.0
"""Seconds before a dependency that is down is tried again, at first and in the end."""


class Outages:
    """Which dependencies are down, since when, and the work that waits for each.

    One piece of waiting work at a time probes; when it gets through, everything else goes on.
    """

    def __init__(self, clock: Clock, wake: Callable[[], None]) -> None:
        self.clock = clock
        self.wake = wake
        self.down: dict[str, tuple[float, str]] = {}
        self._waiting: dict[str, list[Callable[[], None]]] = defaultdict(list)
        self._delay: dict[str, float] = {}
        self._probing: set[str] = set()

    def report(self, dependency: str, error: Unavailable) -> None:
        """This dependency does not answer."""
        if dependency not in self.down:
            log.warning("%s is not available (%s): nothing new is read until it answers", dependency, error.reason)
            self.down[dependency] = (self.clock.time(), error.reason)

    def hold(self, dependency: str, error: Unavailable, again: Callable[[], None]) -> None:
        """Run `again` when the dependency is back, or as the probe that finds out."""
        self.report(dependency, error)
        self._waiting[dependency].append(again)
        if dependency not in self._probing:
            self._probing.add(dependency)
            delay = self._delay.get(dependency, FIRST_PROBE)
            self._delay[dependency] = min(delay * 2, LONGEST_PROBE)
            self.clock.call_later(delay, lambda: self._probe(dependency))

    async def over(self, error: Unavailable) -> None:
        """Wait until the dependency is back, or it is this work's turn to find out."""
        back: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.hold(error.dependency, error, lambda: None if back.done() else back.set_result(None))
        await back

    async def through(self, work: Callable[[], Awaitable[T]], what: str) -> T:
        """Do this however often it takes; `what` is unavailable where the reason is none that passes by itself.

        It is for what must not be given up: until it is done, an event has no outcome.
        """
        met: Unavailable | None = None
        while True:
            try:
                found = await work()
                break
            except Exception as error:
                met = error if isinstance(error, Unavailable) else Unavailable(what, reason_of(error))
                await self.over(met)
        if met is not None:
            self.clear(met.dependency)
        return found

    def clear(self, dependency: str) -> None:
        """The dependency answered."""
        self._go_on(dependency, "%s is available again, after %.1f s")

    def give_up(self, dependency: str) -> None:
        """It still does not answer, and is no outage any longer: what waits goes on, and fails on its own."""
        self._go_on(dependency, "%s does not answer, after %.1f s, and reading goes on: its events fail on their own")

    def _go_on(self, dependency: str, told: str) -> None:
        since = self.down.pop(dependency, None)
        self._delay.pop(dependency, None)
        if since is not None:
            log.warning(told, dependency, self.clock.time() - since[0])
        for again in self._waiting.pop(dependency, []):
            again()
        self.wake()

    def lift(self, dependency: str, why: str) -> None:
        """Go on without a dependency that still does not answer."""
        if self.down.pop(dependency, None) is not None:
            log.warning("%s does not answer, and reading goes on: %s", dependency, why)
            self.wake()

    def _probe(self, dependency: str) -> None:
        self._probing.discard(dependency)
        waiting = self._waiting.get(dependency)
        if waiting:
            waiting.pop(0)()
        elif dependency in self.down:
            self._go_on(dependency, "nothing waits for %s any more, after %.1f s: the next event finds out how it is")
