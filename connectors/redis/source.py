"""Redis streams as a source."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from penstock.connectors.batch import Batch
from penstock.connectors.bell import Bell
from penstock.connectors.redis.entry import StreamBatch
from penstock.connectors.redis.group import Group, due
from penstock.connectors.redis.partition import Holding, watermark_of
from penstock.connectors.store.command import pack
from penstock.connectors.store.connection import Connection
from penstock.connectors.store.reply import ReplyError
from penstock.connectors.watermark import Watermarks
from penstock.errors import Unavailable

log = logging.getLogger("penstock.redis")

BEAT = 1.0
"""Seconds between two signs of life."""

INTERVAL = 0.2
"""Seconds between two confirmations."""

BLOCK = 250
"""Milliseconds that a read waits for entries; a partition that was acquired meanwhile waits as long."""

MOST = 500
"""Entries of one partition in one read."""

SPAN = 10_000
"""Entries of a partition beyond its finished prefix; at this many it is not read further."""

DRAIN, LEAVING = 10.0, 5.0
"""Seconds that a partition may take to finish what runs before it is handed on, and leaving to confirm it."""

PAUSE = 0.05
"""Seconds between two looks at what gives no sign."""


class RedisSource:
    """One member of a consumer group. Reading is without effect on the server; confirming moves the group.

    One read is under way or waits to be taken, never two: while the engine does not ask, nothing more is read. Entries
    are handed over as batches of the kind `make`.
    """

    def __init__(
        self,
        stream: str,
        partitions: int,
        group: str,
        connection: Connection,
        reader: Connection,
        *,
        make: type[StreamBatch] = StreamBatch,
    ) -> None:
        self.name = f"redis:{stream}"
        self._connection = connection
        self._reader = reader
        self._group = Group(connection, stream, partitions, group, make)
        self._held: dict[int, Holding] = {}
        self._arrived: list[tuple[Holding, Batch]] = []
        self._taken = asyncio.Event()
        self._bell = Bell()
        self._confirming = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False
        self._trouble: str | None = None
        self.watermarks: Watermarks | None = None
        self._watched = False

    @property
    def problem(self) -> str | None:
        return self._connection.problem or self._reader.problem or self._trouble

    async def open(self) -> None:
        await self._connection.open()
        await self._reader.open()
        await self._group.found()
        if self.watermarks is not None and not self._watched:
            self.watermarks.watch(self.rewind)
            self._watched = True
        await self._beat()
        for work in (self._read, self._live, self._settle):
            self._start(self._ever(work))

    async def receive(self) -> Sequence[Batch]:
        while not self._stopped:
            arrived, self._arrived = self._arrived, []
            self._taken.set()
            batches = [batch for holding, batch in arrived if not holding.fenced]
            if batches:
                return batches
            await self._bell.wait()
        return []

    def stop(self) -> None:
        self._stopped = True
        self._bell.ring()

    async def confirm(self) -> None:
        async with self._confirming:
            finished = due(self._held.values())
            if self.watermarks is not None and finished:
                # The store knows first: what it should lose of this must be known to come again.
                places = {holding.origin: watermark_of(position) for holding, position, _ in finished}
                if not await self.watermarks.keep(places, self.watermarks.server):
                    return
            await self._group.confirm(finished)

    def rewind(self) -> None:
        """The store may have lost the last it was told: begin again, at the watermarks. Nothing more is confirmed."""
        held = list(self._held.values())
        for holding in held:
            holding.forget()
        self._start(self._begin(held))

    async def _begin(self, held: Sequence[Holding]) -> None:
        """Put these partitions back to where they should begin, however long the store is away."""
        assert self.watermarks is not None
        while True:
            try:
                found = await self.watermarks.read([holding.origin for holding in held])
                break
            except Unavailable:
                await asyncio.sleep(PAUSE)
        for holding, watermark in zip(held, found, strict=True):
            if self._held.get(holding.partition.number) is holding:
                self._held[holding.partition.number] = again = holding.begin(watermark)
                log.info("%s: partition %s begins at %s", self.name, again.partition, again.position.decode())

    async def close(self) -> None:
        self.stop()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        held = list(self._held.values())
        if self._connection.problem is None and self._reader.problem is None:
            try:
                async with asyncio.timeout(LEAVING):
                    await self.confirm()
                    await self._group.release(held)
                    await self._group.leave()
            except (Unavailable, ReplyError, TimeoutError) as error:
                log.warning("%s: left without the last confirmation: %s", self.name, str(error) or "no answer")
        for holding in held:
            holding.fence()
        self._held.clear()
        await self._reader.close()

    def lag(self) -> int | None:
        return sum(holding.lag for holding in self._held.values())

    # -- reading -------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Read once into `arrived`, when what was there has been taken."""
        await self._taken.wait()
        open_ = [holding for holding in self._held.values() if not holding.fenced and holding.unfinished() < SPAN]
        if not open_:
            await asyncio.sleep(PAUSE)
            return
        keys, places = [holding.key for holding in open_], [holding.read for holding in open_]
        command = pack("XREAD", "COUNT", MOST, "BLOCK", BLOCK, "STREAMS", *keys, *places)
        [reply] = await self._reader.ask(command, again=True)
        if reply is None:
            return
        now = asyncio.get_running_loop().time()
        for holding in open_:
            entries = reply.get(holding.key.encode())
            if entries and not holding.fenced:
                self._arrived.append((holding, holding.add(entries, now)))
        self._taken.clear()
        self._bell.ring()

    # -- holding -------------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        await asyncio.sleep(BEAT)
        await self._beat()

    async def _beat(self) -> None:
        """Keep what is held, take what is due, hand on what is more than a fair share."""
        members, lost = await self._group.beat(list(self._held.values()))
        for holding in lost:
            log.warning("%s: partition %s was taken over by another process", self.name, holding.partition)
            holding.abandon()
            if self._held.get(holding.partition.number) is holding:
                del self._held[holding.partition.number]
        kept = [holding for holding in self._held.values() if not holding.fenced]
        share = self._group.share(members)
        for holding in kept[share:]:
            holding.fence()
            self._start(self._hand_on(holding))
        for number in self._group.turn(members):
            if len(kept) < share and number not in self._held:
                taken = await self._group.acquire(number)
                if taken is not None and self.watermarks is not None:
                    # Where it fails, the lease runs out by itself.
                    [watermark] = await self.watermarks.read([taken.origin])
                    taken = taken.begin(watermark)
                if taken is not None:
                    log.info("%s: partition %s is ours from %s", self.name, taken.partition, taken.position.decode())
                    self._held[number] = taken
                    kept.append(taken)

    async def _hand_on(self, holding: Holding) -> None:
        """Let a partition finish what runs, and give it back."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN):
                while holding.running():
                    await asyncio.sleep(PAUSE)
        holding.abandon()
        try:
            await self.confirm()
            await self._group.release([holding])
        except (Unavailable, ReplyError) as error:
            # Held no longer, it is renewed no longer: others have it when the lease runs out.
            log.warning("%s: partition %s is not given back: %s", self.name, holding.partition, error)
        if self._held.get(holding.partition.number) is holding:
            del self._held[holding.partition.number]
        log.info("%s: partition %s is handed on", self.name, holding.partition)

    async def _settle(self) -> None:
        await asyncio.sleep(INTERVAL)
        await self.confirm()

    # -- tasks ---------------------------------------------------------------------------------------------------

    async def _ever(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do this again and again, whatever the server has to say about it."""
        while True:
            try:
                await work()
                self._trouble = None
            except Unavailable:
                await asyncio.sleep(PAUSE)
            except Exception as error:
                # A key that is no stream any more, a right that was taken away: it must not end the source in silence.
                self._trouble = f"{self.name}: {error}"
                log.exception("%s: will be tried again", self.name)
                await asyncio.sleep(BEAT)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
