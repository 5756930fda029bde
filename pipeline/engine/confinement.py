"""Solitary confinement: finding the event that ends the process which runs it, without harm to the others.

A worker that dies of itself (native code that crashes, `os._exit`) had many events in flight. Ordinary work writes
nothing down, so that it costs nothing. After such a death the parent has all workers do so for a while: records are
started in bits, each written to a file before it begins. Who is in the file of the next worker that dies is a suspect
and runs alone; who is alone in it twice becomes a dead letter (`suspects`). What `kill -9` did convicts nobody.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from penstock.connectors import Batch
from penstock.errors import BadEvent
from penstock.pipeline.engine.suspects import OTHERS, Orders

if TYPE_CHECKING:
    from penstock.pipeline.engine.lane import Lane

BIT = 128
"""Records that are started together while what runs is written down."""

PATIENCE = 1.0
"""Seconds that a bit has to finish before the next begins beside what is left of it."""

SOLITUDE = 3.0
"""Seconds that a suspect waits for everything else to finish. It then runs, but not alone."""


class Deadly(BadEvent):
    """An event that has ended the process each time it ran alone. It is not run again."""


class Started(msgspec.Struct, frozen=True):
    """One record that was started, and the name it is written down by."""

    batch: Batch
    index: int
    mark: str

    @property
    def runs(self) -> bool:
        return self.batch.owed[self.index] == 1


class Confinement:
    """A worker's side: what it runs, for its parent to read if it dies. One for all pipelines of the process.

    `path` is where it is written, `orders` where the parent leaves what is to be done, `opened` gives every batch
    that is not finished.
    """

    def __init__(self, path: Path, orders: Path) -> None:
        self.path = path
        self.opened: Callable[[], Iterable[Batch]] = tuple
        self._path_of_orders = orders
        self._orders = Orders()
        self._running: list[Started] = []
        self._earlier: list[Batch] = []
        self._turn = asyncio.Lock()
        self._file = -1

    def begin(self) -> None:
        """From now on, the file being there means that the process has not left in good order."""
        self._file = os.open(self.path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        self._orders = Orders.read(self._path_of_orders)

    def end(self) -> None:
        """The process leaves in good order."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self.path.unlink(missing_ok=True)

    def look(self) -> None:
        """The parent has new orders."""
        if not self.watching:
            # What began before nobody has written down.
            self._earlier = list(self.opened())
            self._running = []
            self._write()
        self._orders = Orders.read(self._path_of_orders)

    @property
    def watching(self) -> bool:
        """Whether what runs is to be written down."""
        return self._orders.until > 0.0 and time.time() < self._orders.until

    async def run(self, lane: Lane, batch: Batch) -> None:
        """Run a batch bit by bit: what is guilty not at all, what is suspect alone."""
        start = batch.taken
        while start < len(batch) and not batch.fenced:
            await lane.engine.gate.opened(lane)
            marks = [mark(batch, index) for index in range(start, min(start + BIT, len(batch)))]
            orders = self._orders
            count = next(
                (at for at, one in enumerate(marks) if one in orders.alone or one in orders.guilty), len(marks)
            )
            if count:
                await self._run(lane, batch, start, marks[:count])
            elif marks[0] in orders.guilty:
                self._convict(lane, batch, start, marks[0])
            else:
                await self._run(lane, batch, start, marks[:1], alone=True)
            start = batch.taken

    async def take_back(self, lane: Lane, batch: Batch, begin: Callable[[], object]) -> bool:
        """A record comes back from where it was set aside: have it begun as one of a source, if it is not guilty."""
        one, orders = mark(batch, 0), self._orders
        if one in orders.guilty:
            self._convict(lane, batch, 0, one)
            return False
        await self._run(lane, batch, 0, [one], begin, alone=one in orders.alone)
        return True

    def follow(self, batch: Batch) -> None:
        """A record that runs already is this one from now on: its first one has finished where it came from."""
        if self.watching:
            self._running.append(Started(batch, 0, mark(batch, 0)))
            self._write()

    def _convict(self, lane: Lane, batch: Batch, index: int, mark: str) -> None:
        batch.taken = index + 1
        lane.trouble.refuse(Deadly(self._orders.guilty[mark], status=422), batch, index)

    async def _run(
        self,
        lane: Lane,
        batch: Batch,
        start: int,
        marks: list[str],
        begin: Callable[[], object] | None = None,
        *,
        alone: bool = False,
    ) -> None:
        async with self._turn:
            if alone:
                await self._finished(lambda: self._running, SOLITUDE)
            if batch.fenced:
                return
            begun = [Started(batch, start + at, one) for at, one in enumerate(marks)]
            self._running += begun
            self._write()
            batch.taken = start + len(marks)
            if begin is None:
                lane.runner.begin(batch, start, batch.taken)
            else:
                begin()
            await self._finished(lambda: begun, PATIENCE)
            self._running = [one for one in self._running if one.runs]
            self._write()

    async def _finished(self, some: Callable[[], list[Started]], limit: float) -> None:
        """Wait until these have finished, or long enough."""
        deadline = time.monotonic() + limit
        while any(one.runs for one in some()) and time.monotonic() < deadline:
            await asyncio.sleep(0.001)
        self._running = [one for one in self._running if one.runs]

    def _write(self) -> None:
        self._earlier = [batch for batch in self._earlier if batch.left]
        names = [one.mark for one in self._running] + [OTHERS] * len(self._earlier)
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, "\n".join(names).encode(), 0)


def running(path: Path) -> list[str]:
    """What a worker that died had written down."""
    return path.read_text(encoding="utf-8").split()


def mark(batch: Batch, index: int) -> str:
    """The name of a record that comes again: its position, or where there are none, its origin and what it says."""
    place = batch.place(index)
    if not place:
        value = batch.values[index]
        said = value if isinstance(value, bytes) else batch.event(index).id.encode()
        return f"{batch.partition}#{blake2b(said, digest_size=12).hexdigest()}".replace(" ", "_")
    return f"{batch.origin(index)}/{place}"
