"""Time as the engine sees it, so that tests can move it by hand."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol


class Timer(Protocol):
    """Something that will happen, unless it is cancelled."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Wall time, a steady clock, timers and time-outs."""

    def time(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    def call_later(self, delay: float, call: Callable[[], Any]) -> Timer:
        """Call on the loop after `delay` seconds."""
        ...

    def timeout(self, delay: float) -> AbstractAsyncContextManager[Any]:
        """A block that raises TimeoutError when it takes longer than `delay` seconds."""
        ...


class SystemClock:
    """The machine's own clock and the running loop's timers."""

    def __init__(self) -> None:
        # The functions themselves: actions are stamped one by one, and a method around them costs as much again.
        self.time = time.time
        self.monotonic = time.monotonic

    def call_later(self, delay: float, call: Callable[[], Any]) -> Timer:
        return asyncio.get_running_loop().call_later(delay, call)

    def timeout(self, delay: float) -> AbstractAsyncContextManager[Any]:
        return asyncio.timeout(delay)


class ManualClock:
    """A clock that stands still until `advance` moves it, firing on its way what was due.

    >>> clock = ManualClock(start=1_000.0)
    >>> fired = []
    >>> timer = clock.call_later(5.0, lambda: fired.append(clock.time()))
    >>> clock.advance(10.0)
    >>> fired, clock.time()
    ([1005.0], 1010.0)
    """

    class _Timer:
        __slots__ = ("call",)

        def __init__(self, call: Callable[[], Any] | None) -> None:
            self.call = call

        def cancel(self) -> None:
            self.call = None

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._due: list[tuple[float, int, ManualClock._Timer]] = []
        self._numbers = itertools.count()

    def time(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    def call_later(self, delay: float, call: Callable[[], Any]) -> Timer:
        timer = ManualClock._Timer(call)
        heapq.heappush(self._due, (self._now + max(delay, 0.0), next(self._numbers), timer))
        return timer

    @asynccontextmanager
    async def timeout(self, delay: float) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(None) as limit:
            timer = self.call_later(delay, lambda: limit.reschedule(loop.time()))
            try:
                yield
            finally:
                timer.cancel()

    def next_due(self) -> float | None:
        """When the next timer fires; None where there is none."""
        while self._due and self._due[0][2].call is None:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def advance(self, delay: float) -> None:
        """Move on by `delay` seconds, firing each timer at its own moment."""
        end = self._now + delay
        while (due := self.next_due()) is not None and due <= end:
            _, _, timer = heapq.heappop(self._due)
            self._now = max(self._now, due)
            if timer.call is not None:
                timer.call()
        self._now = end
