"""What is ready to run: batches in, events out in key order, everything else overtaking a key that is in flight."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from penstock.connectors import Batch

if TYPE_CHECKING:
    from penstock.pipeline.parking.spill import Spill

Row = tuple[Batch, int, Any, Any]
"""One event: its batch, its index there, its decoded payload, its order key."""

PARKED, WEIGHT = 10_000, 256_000_000
"""Events that wait in memory behind keys in flight, and bytes of them, past which nothing new is admitted."""


class Feed:
    """The events of one source stage, between the connectors and the slots.

    `table` holds every key in flight, with the rows that wait behind it (None while there are none). A row leaves
    `ready` for a slot; the slot, or whoever ends the event later, releases the key and with it the next row.

    `admit` (written by `code`) turns the records `[start, stop)` of a batch into rows. `shut` says whether nothing
    new may start (an outage, too many unconfirmed actions).
    """

    def __init__(
        self,
        shut: Callable[[], bool],
        *,
        room: int,
    ) -> None:
        self.admit: Callable[[Batch, int, int], None] = _nothing
        self.shut = shut
        self.room = room
        self.ready: deque[Row] = deque()
        self.table: dict[Any, deque[Row] | None] = {}
        self.batches: deque[Batch] = deque()
        self.parked = 0
        self.weight = 0
        self.aside: Spill | None = None
        self.closing = False
        self._idle: deque[asyncio.Future[None]] = deque()
        self._hungry: asyncio.Future[None] | None = None

    # -- the connectors' side ------------------------------------------------------------------------------------

    def add(self, batches: Iterable[Batch]) -> None:
        """Take records from a source, and wake as many slots as there is work for."""
        self.batches.extend(batches)
        self.wake()

    async def hungry(self) -> None:
        """Wait until more records are wanted: the backpressure that sources feel."""
        while len(self.batches) > 1 or (self.batches and self.shut()):
            if self._hungry is None or self._hungry.done():
                self._hungry = asyncio.get_running_loop().create_future()
            # Several sources wait here; one that is cancelled leaves the others waiting.
            await asyncio.shield(self._hungry)

    # -- the slots' side -----------------------------------------------------------------------------------------

    def refill(self) -> bool:
        """Admit records until every slot has something to do. False where nothing is ready."""
        ready, batches = self.ready, self.batches
        while batches and len(ready) < self.room and not self.full and not self.shut():
            batch = batches[0]
            start = batch.taken
            stop = len(batch) if not batch.fenced else start
            stop = min(stop, start + self.room)
            batch.taken = stop
            self.admit(batch, start, stop)
            if stop >= len(batch) or batch.fenced:
                batches.popleft()
        if len(batches) < 2 and self._hungry is not None:
            if not self._hungry.done():
                self._hungry.set_result(None)
            self._hungry = None
        return bool(ready)

    def wait(self, key: Any, row: Row) -> None:
        """Set a row aside behind its key, which is in flight."""
        if self.aside is not None and self.aside.takes(key, row):
            return
        self.enter(row[0], row[1])
        waiters = self.table[key]
        if waiters is None:
            self.table[key] = deque((row,))
        else:
            waiters.append(row)

    def enter(self, batch: Batch, index: int) -> None:
        """One event more waits in memory."""
        self.parked += 1
        value = batch.values[index]
        if value.__class__ is bytes:
            self.weight += len(value)

    def leave(self, batch: Batch, index: int) -> None:
        """One of them does so no longer."""
        self.parked -= 1
        value = batch.values[index]
        if value.__class__ is bytes:
            self.weight -= len(value)

    def park(self, batch: Batch, index: int, key: Any) -> None:
        """Set a record aside behind its key; it is admitted again when the key is released."""
        self.wait(key, (batch, index, None, key))

    def follow(self, key: Any, rows: deque[Row] | None) -> None:
        """Let rows wait behind their key again, which is in flight once more, and may have been set aside meanwhile."""
        if self.table[key] is None:
            self.table[key] = rows
        elif rows:
            for row in rows:
                self.leave(row[0], row[1])
                self.wait(key, row)

    def release(self, key: Any, waiters: deque[Row]) -> None:
        """Let the next row of this key run; the others go on waiting behind it."""
        row = waiters.popleft()
        self.leave(row[0], row[1])
        self.ready.append(row)
        self.table[key] = waiters if waiters or (self.aside is not None and key in self.aside.keys) else None
        if self._idle:
            self.wake()

    def free(self, key: Any) -> None:
        """A key's event has ended outside a slot."""
        if key is None:
            return
        waiters = self.table.pop(key, None)
        if waiters:
            self.release(key, waiters)
        elif waiters is not None and self.aside is not None:
            self.aside.drained(key)

    def rows(self, count: int) -> list[Row]:
        """Up to `count` rows that may run side by side: their keys are distinct."""
        if len(self.ready) < count:
            self.refill()
        take = self.ready.popleft
        return [take() for _ in range(min(count, len(self.ready)))]

    async def arrive(self) -> bool:
        """Wait until there may be work. False when the feed is closed and empty."""
        if self.closing and not self.ready and not self.batches and not self.parked:
            return False
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle.append(future)
        await future
        return True

    def wake(self) -> None:
        """Wake idle slots, one for each row that is ready; all of them when closing."""
        if not self.ready:
            self.refill()
        count = len(self._idle) if self.closing else min(len(self.ready), len(self._idle))
        for _ in range(count):
            future = self._idle.popleft()
            if not future.done():
                future.set_result(None)

    @property
    def full(self) -> bool:
        """Whether as many events wait behind keys in flight as may."""
        return self.parked >= PARKED or self.weight >= WEIGHT

    @property
    def idle(self) -> int:
        """How many slots wait for work."""
        return len(self._idle)

    def close(self) -> None:
        """Nothing more will be added: slots end when what is here has run."""
        self.closing = True
        self.wake()


def _nothing(batch: Batch, start: int, stop: int) -> None:
    """Before the program is there, nothing is admitted."""
