"""How many dead letters the store takes, and what happens then: reading pauses, or the oldest move to files."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

from penstock.connectors import Batch, Endpoint, Site, Store
from penstock.errors import ConfigError, Unavailable, Undeliverable
from penstock.pipeline.clock import Clock
from penstock.pipeline.files import whole
from penstock.pipeline.letters.copies import Copies, places
from penstock.pipeline.letters.letters import Letter, Letters, line

log = logging.getLogger("penstock")

LOOK = 1.0
"""Seconds between looks at a stream that is full."""

OFTEN = 100
"""Letters after which a process looks how many there are, while there is room for many times as many."""

EASE = 0.9
"""The share of the limit that is left when the oldest have moved."""

MOVING = 60.0
"""Seconds after which another process may move letters, when the one that said it would has died."""


class Host(Protocol):
    """What limits need of the engine."""

    clock: Clock
    stopping: bool

    def spawn(self, work: Coroutine[Any, Any, None]) -> None: ...
    def wake(self) -> None: ...


class LimitedLetters(Letters):
    """Letters up to the limits of the settings: so many (`dead_limit`), so many bytes (`dead_bytes`).

    What is in flight when a limit is reached may still become letters, and each is kept. Then `full` keeps the engine
    from starting anything new, until somebody has replayed or dropped some; or, where there is a folder, the oldest are
    written to a file there, as `penstock dead export` writes them, and taken out of the store. How many there are is
    looked at when this process writes one, or a hundred where there is room for many: the limit is for all processes,
    and each notices it by itself.

    `copies` sends each to an endpoint too. Where they are not `stored`, the store has only those that this refuses.
    """

    def __init__(self, store: Store, site: Site, host: Host, endpoint: Callable[[Endpoint], Endpoint]) -> None:
        super().__init__(store, site.group)
        settings = site.settings.process
        self.stored, to = places(site.settings)
        self.copies = Copies(endpoint(to), site) if to is not None else None
        self.most = settings.dead_limit
        self.most_bytes = settings.dead_bytes
        self.folder = Path(settings.dead_folder) if settings.dead_folder else None
        self.host = host
        self.moved = 0
        self._looking = self._timed = False
        self._new = self._new_bytes = 0
        self._failed = ""

    async def open(self) -> None:
        if self.copies is not None:
            await self.copies.open()
        await self.look()

    async def close(self) -> None:
        if self.copies is not None:
            await self.copies.close()

    async def write(self, letter: Letter, batch: Batch | None = None) -> Letter:
        """Keep a letter wherever the settings say, and return when it is there. What was sent before is sent again."""
        if self.copies is not None:
            try:
                await self.copies.send(letter)
            except Undeliverable as error:
                log.error("%s refuses the dead letter %s (%s): the store has it", self.copies.where, letter.id, error)
            else:
                if not self.stored:
                    self.counted(letter)
                    return letter
        kept = await super().write(letter, batch)
        self.known += 1
        self._new += 1
        self._new_bytes += len(kept.data)
        if self._new >= OFTEN or self._near():
            # The letter is kept whatever the look comes to.
            with contextlib.suppress(Unavailable):
                await self.look()
        return kept

    def _near(self) -> bool:
        """Whether there may be no room by the time a hundred letters more have come, of several processes."""
        few = self.most and self.room < 20 * OFTEN
        return bool(few or (self.most_bytes and self.size + 20 * self._new_bytes > EASE * self.most_bytes))

    async def look(self) -> None:
        """See how much is there, and do what follows from it. Raises `Unavailable` in an outage."""
        if self._looking:
            return
        self._looking, room = True, self.room
        try:
            await self.measure()
            self._new = self._new_bytes = 0
            if self.folder is not None and self._over(1.0):
                await self._move(self.folder)
        finally:
            self._looking = False
        self._tell(self._over(1.0))
        if self.room > room:
            self.host.wake()

    def _tell(self, full: bool) -> None:
        was, self.full = self.full, full
        if full and not was:
            log.warning("%s: nothing new is read until there is room", self.problem)
        if was and not full:
            log.warning("there is room for dead letters again: reading goes on")
            self.host.wake()
        if full and not self._timed:
            self._timed = True
            self.host.clock.call_later(LOOK, self._due)

    def _due(self) -> None:
        self._timed = False
        if not self.host.stopping:
            self.host.spawn(self._again())

    async def _again(self) -> None:
        try:
            await self.look()
        except Unavailable:
            self._tell(self.full)

    @property
    def room(self) -> float:
        """So many events may be in trouble: each of them may become a letter."""
        return max(self.most - self.known, 0) if self.most else math.inf

    @property
    def problem(self) -> str:
        """One line for `/readyz` where there is no room; else empty."""
        if not self.full:
            return ""
        told = f"{self.known:,} dead letters in {self.size:,} bytes, and the limits are {self.most:,} "
        told += f"(PENSTOCK_DEAD_LIMIT) and {self.most_bytes:,} bytes (PENSTOCK_DEAD_BYTES)"
        return f"{told}; {self._failed or 'replay, export or drop some (penstock dead list)'}"

    def _over(self, share: float) -> bool:
        over = self.most and self.known >= self.most * share
        return bool(over or (self.most_bytes and self.size >= self.most_bytes * share))

    async def _move(self, folder: Path) -> None:
        """Write the oldest letters to files until there is room. One process at a time does."""
        claim = f"{self.stream}:moving"
        if await self.store.settle(claim, f"{os.getpid()}".encode(), MOVING) is not None:
            return
        try:
            while self._over(EASE) and (oldest := await self.read(count=500)):
                some = oldest[: self._count(len(oldest))]
                name = folder / f"{self.pipeline}-{time.time_ns()}.ndjson"
                lines = [line(self.pipeline, letter) for _, letter in some]
                await asyncio.to_thread(_written, name, lines)
                await self.remove([letter.id for _, letter in some])
                self.moved += len(some)
                log.warning("the %d oldest dead letters are in %s now", len(some), name)
                await self.measure()
            self._failed = ""
        except ConfigError as error:
            self._failed = str(error)
        finally:
            await self.store.delete([claim])

    def _count(self, there: int) -> int:
        """How many of those to move: what is over by count, else a tenth of them at a time."""
        over = self.known - int(self.most * EASE) if self.most else 0
        return max(1, min(there, over)) if over > 0 else max(1, there // 10)


def _written(path: Path, lines: list[bytes]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"PENSTOCK_DEAD_FOLDER: {path.parent} cannot be made: {error.strerror or error}") from None
    with whole(path) as file:
        file.writelines(lines)
