"""How the events of one source run: as a loop over slices of batches, in waves, or in slots."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from penstock.connectors import Batch

if TYPE_CHECKING:
    from penstock.pipeline.engine.flight import Flight
    from penstock.pipeline.engine.lane import Lane

WAVE = 128
"""Events that go through each step together, at most."""

WAVES = 3
"""Waves in flight: while one waits, the others compute."""

SLICE_SECONDS = 0.001
"""How long a slice of a batch may take, about: nothing else runs meanwhile."""

TIMED_EVERY = 64
"""Of so many slices or waves, one is measured."""

SAMPLE_SECONDS = 0.01
"""The rest that the slot which measures takes after each event."""


class Runner(ABC):
    """Runs what its lane has received, in one form.

    `width`: how many coroutines do.
    """

    width = 0

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.feed = lane.feed
        self.program = lane.program

    @property
    def full(self) -> bool:
        """Whether as many events wait in memory behind keys as may. A feed that admits them sees to that itself."""
        return False

    @abstractmethod
    def workers(self) -> list[Coroutine[Any, Any, None]]:
        """The coroutines that run events: none for a loop, which its pumps run."""

    @abstractmethod
    async def hungry(self) -> None:
        """Wait until more records are wanted."""

    @abstractmethod
    async def take(self, batches: Sequence[Batch]) -> None:
        """Run what a source handed over, now or as soon as there is room."""

    @abstractmethod
    def begin(self, batch: Batch, start: int, stop: int) -> None:
        """Begin these records of a batch, and no others of it."""

    @abstractmethod
    def behind(self, batch: Batch, key: Any) -> None:
        """Let the one record of a batch wait behind its key."""

    @abstractmethod
    def wake(self) -> None:
        """What may run, runs."""

    @abstractmethod
    def freed(self) -> None:
        """A key was let go outside of what runs: so may what waited behind it."""

    @abstractmethod
    def claim(self, flight: Flight) -> None:
        """Keep the key of an event that failed in flight."""


class Loop(Runner):
    """For stages that never suspend: the pumps themselves run slices of batches."""

    def __init__(self, lane: Lane) -> None:
        super().__init__(lane)
        self._slice = 64
        self._spent = 0.0
        self._number = 0

    @property
    def full(self) -> bool:
        return self.feed.full

    def workers(self) -> list[Coroutine[Any, Any, None]]:
        return []

    async def hungry(self) -> None:
        """It always is: what it has received has run when it asks for more."""

    async def take(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            await self._run(batch)

    async def _run(self, batch: Batch) -> None:
        """A batch in slices of about a millisecond, with a breath for everyone else in between."""
        run, timed, count = self.program.run, self.program.timed, len(batch)
        lane, gate = self.lane, self.lane.engine.gate
        start = 0
        while start < count and not batch.fenced:
            if self.feed.ready:
                self.wake()
            if gate.shut(lane):
                await gate.opened(lane)
                continue
            self._number += 1
            if self._number % TIMED_EVERY == 1:
                batch.taken = start + 1
                timed(batch, start, start + 1)
                start += 1
            stop = batch.taken = min(count, start + self._slice)
            began = perf_counter()
            run(batch, start, stop)
            took = perf_counter() - began
            if stop - start == self._slice:
                self._slice = _next_slice(self._slice, took)
            start = stop
            self._spent += took
            if self._spent > SLICE_SECONDS / 2:
                self._spent = 0.0
                await asyncio.sleep(0)

    def begin(self, batch: Batch, start: int, stop: int) -> None:
        self.program.run(batch, start, stop)
        self.wake()

    def behind(self, batch: Batch, key: Any) -> None:
        self.feed.park(batch, 0, key)

    def wake(self) -> None:
        """Run records that waited behind a key."""
        feed = self.feed
        while feed.ready:
            batch, index, _, key = feed.ready.popleft()
            rest = feed.table.pop(key, None)
            self.program.run(batch, index, index + 1)
            if key in feed.table:
                feed.follow(key, rest)
            elif rest:
                feed.release(key, rest)
            elif rest is not None and feed.aside is not None:
                feed.aside.drained(key)

    def freed(self) -> None:
        self.wake()

    def claim(self, flight: Flight) -> None:
        """A loop enters no key while its event runs: it is read and entered now."""
        if self.lane.keyed and flight.payload is not None:
            flight.key = self.lane.records.key_of(flight.payload, flight.batch, flight.index)
            if flight.key is not None:
                self.feed.table.setdefault(flight.key, None)


class Fed(Runner):
    """For stages that suspend: coroutines take what their feed has admitted."""

    async def hungry(self) -> None:
        await self.feed.hungry()

    async def take(self, batches: Sequence[Batch]) -> None:
        self.feed.add(batches)

    def begin(self, batch: Batch, start: int, stop: int) -> None:
        self.feed.admit(batch, start, stop)
        self.feed.wake()

    def behind(self, batch: Batch, key: Any) -> None:
        self.feed.admit(batch, 0, 1)

    def wake(self) -> None:
        self.feed.wake()

    def freed(self) -> None:
        """The feed has woken whoever runs it."""

    def claim(self, flight: Flight) -> None:
        """It has been in flight since the event was admitted."""


class Waves(Fed):
    """Some events of distinct keys go through each step together, and a few such waves are in flight."""

    def __init__(self, lane: Lane) -> None:
        super().__init__(lane)
        self.width = min(WAVES, lane.engine.graph.concurrency)
        self._size = max(1, min(WAVE, lane.engine.graph.concurrency // WAVES))
        self._number = 0

    def workers(self) -> list[Coroutine[Any, Any, None]]:
        return [self._waves() for _ in range(self.width)]

    async def _waves(self) -> None:
        feed, size = self.feed, self._size
        while True:
            rows = feed.rows(size)
            if not rows:
                if not await feed.arrive():
                    return
                continue
            self._number += 1
            await (self.program.timed if self._number % TIMED_EVERY == 1 else self.program.run)(rows)


class Slots(Fed):
    """As many coroutines as may work at once, each of which takes one event from its first stage to its last."""

    def __init__(self, lane: Lane) -> None:
        super().__init__(lane)
        self.width = lane.engine.graph.concurrency

    def workers(self) -> list[Coroutine[Any, Any, None]]:
        feed = self.feed
        if self.width == 1:
            return [self.program.timed(feed.ready, feed.refill, self._next)]
        slots = [self.program.run(feed.ready, feed.refill, feed.arrive) for _ in range(self.width - 1)]
        return [*slots, self.program.timed(feed.ready, feed.refill, self._sampling)]

    async def _sampling(self) -> bool:
        """The slot that measures takes one event, and a rest: nothing is timed more often than that."""
        await asyncio.sleep(SAMPLE_SECONDS)
        return await self._next()

    async def _next(self) -> bool:
        return self.feed.refill() or await self.feed.arrive()


RUNNERS: dict[str, type[Runner]] = {"loop": Loop, "wave": Waves, "slot": Slots}
"""By the form of a program, what runs it."""


def _next_slice(size: int, took: float) -> int:
    """The number of events that would have taken about a millisecond, changed by at most a factor of two."""
    wanted = int(size * SLICE_SECONDS / max(took, 1e-6))
    return max(16, min(wanted, size * 2, 4096)) if wanted > size // 2 else max(16, size // 2)
