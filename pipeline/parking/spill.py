"""Keys that wait for long: set aside in the store, in order, so that neither memory nor other keys wait with them."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from penstock.connectors import Batch, Partition, Store
from penstock.pipeline.lines import log
from penstock.pipeline.parking.floors import Floors
from penstock.pipeline.parking.leases import Leases
from penstock.pipeline.parking.spilled import Entry, Spilled, entry, identity

if TYPE_CHECKING:
    from penstock.pipeline.engine.feed import Row
    from penstock.pipeline.engine.flight import Flight
    from penstock.pipeline.engine.lane import Lane

T = TypeVar("T")

MOST = 1_000
"""Events that wait in memory behind one key; with one more, the key is set aside."""

ALL = 5_000
"""Events that wait in memory behind all keys together, past which every key that waits is set aside."""

HEAVY = 64_000_000
"""Bytes of theirs, past which it is the same."""

MANY = 1_000_000
"""Events in the store past which nothing new is read: of each of them a line is kept in memory."""

LONG = 1.0
"""Seconds to the next try for which an event of a source without positions is set aside at once."""

CHUNK = 200
"""Records that are written together, and records of one key that come back together."""


Place = tuple[str, str, str, str]
"""Where a record lies: its log, its place there, its identity, its origin."""


class Kept:
    """One key that was set aside: what the log has of it, in order, how much is on its way there, whether none runs."""

    __slots__ = ("idle", "places", "writing")

    def __init__(self) -> None:
        self.places: deque[Place] = deque()
        self.writing = 0
        self.idle = False


class Spill:
    """What one source stage has set aside.

    The log `penstock:{pipeline}:parked:{partition}` has the records of a partition, in order. A record that is there
    counts as finished at its source, and comes back as itself when its key is free: the first of a key is the one that
    failed, which goes on being tried in memory meanwhile. A key that has anything in the log has everything there.

    Whoever reads a partition takes over its log with it, before the first record is processed; the log of a partition
    from which nothing comes is adopted when nobody holds its lease.
    """

    def __init__(self, lane: Lane, store: Store, group: str) -> None:
        self.lane = lane
        self.feed = lane.feed
        self.store = store
        self.leases = Leases(store, group, lane.source.stage)
        self.floors = Floors()
        self.keys: dict[Any, Kept] = {}
        self.count = 0
        self.taken: dict[Partition, Partition] = {}
        self._known: set[str] = set()
        self._queue: deque[tuple[Any, Batch, int, str, Entry, Spilled | None]] = deque()
        self._done: deque[tuple[str, str]] = deque()
        self._writing = self._removing = False

    @property
    def full(self) -> bool:
        """Whether as much is set aside as may be."""
        return self.count >= MANY

    # -- setting aside -------------------------------------------------------------------------------------------

    def takes(self, key: Any, row: Row) -> bool:
        """Whether a row that waits behind its key goes to the store rather than into memory."""
        batch, index = row[0], row[1]
        if batch.waited or batch.__class__ is Spilled:
            return False
        if key not in self.keys:
            waiters = self.feed.table[key]
            head = self.lane.trouble.head(key) if waiters and self._too_many(waiters) else None
            if head is None or not waiters or any(waiter[0].waited for waiter in waiters):
                return False
            self._begin(key, head, waiters)
        self._set_aside(key, batch, index)
        return True

    def waits(self, head: Flight, delay: float) -> None:
        """The event of a key begins to wait for its next try."""
        key, batch = head.key, head.batch
        if key in self.keys or batch.waited or head.waiting < head.open:
            return
        waiters = self.feed.table.get(key)
        # Without positions confirmations go in the order of receipt, and the first that waits holds up all others.
        blocks = delay >= LONG and not batch.origin(head.index)
        if blocks or (waiters and self._too_many(waiters)):
            if waiters is None:
                waiters = self.feed.table[key] = deque()
            if not any(waiter[0].waited for waiter in waiters):
                self._begin(key, head, waiters)

    def _too_many(self, waiters: deque[Row]) -> bool:
        return len(waiters) >= MOST or self.feed.parked >= ALL or self.feed.weight >= HEAVY

    def _begin(self, key: Any, head: Flight, waiters: deque[Row]) -> None:
        """Set a whole key aside: the event that is tried again, and then those behind it."""
        log.warning(
            "the key %s waits in %s with %d events behind it: it is set aside in the store",
            key,
            self.lane.source.stage,
            len(waiters),
        )
        self.keys[key] = Kept()
        batch, index = head.batch, head.index
        found = self._entry(batch, index, key)
        copy = Spilled(found, received=batch.received, written=False)
        copy.changed = self._finished
        copy.updates[0] = batch.updates.get(index, {})
        head.batch, head.index = copy, 0
        for _, message in head.out or ():
            message.batch, message.index = copy, 0
        self.lane.open.add(copy)
        self._set_aside(key, batch, index, found, copy)
        for row in waiters:
            self.feed.leave(row[0], row[1])
            self._set_aside(key, row[0], row[1])
        waiters.clear()  # It stays in the table: whoever ends the key's event asks here for the next.

    def _entry(self, batch: Batch, index: int, key: Any) -> Entry:
        return entry(self.lane.trouble.writer.whole(batch, index, key), batch, index)

    def _set_aside(
        self, key: Any, batch: Batch, index: int, found: Entry | None = None, copy: Spilled | None = None
    ) -> None:
        self.keys[key].writing += 1
        self.feed.enter(batch, index)
        self.floors.hold(batch.origin(index), batch.place(index))
        found = found or self._entry(batch, index, key)
        self._queue.append((key, batch, index, identity(batch, index), found, copy))
        if not self._writing:
            self._writing = True
            self.lane.engine.spawn(self._write())

    async def _write(self) -> None:
        """Write what is to be set aside, in order. A record is finished at its source when it is there."""
        while self._queue:
            some = [self._queue[at] for at in range(min(CHUNK, len(self._queue)))]
            for name in {str(batch.partition) for _, batch, *_ in some} - self.leases.ours:
                await self._patiently(lambda: self.leases.seize(name))  # noqa: B023
            places = await self._patiently(lambda: self._append(some))  # noqa: B023
            for (key, batch, index, id, _, copy), place in zip(some, places, strict=True):
                self._queue.popleft()
                kept = self.keys[key]
                kept.writing -= 1
                stream = self.leases.log(str(batch.partition))
                if copy is not None:
                    copy.written = True
                    self._known.add(id)
                    if not copy.left:
                        self._remove(copy)
                elif id in self._known:
                    self.floors.let_go(batch.origin(index))
                else:
                    self._known.add(id)
                    kept.places.append((stream, place, id, batch.origin(index)))
                    self.count += 1
                self.feed.leave(batch, index)
                batch.settle(index)
                if kept.idle and (kept.places or not kept.writing):
                    self._pull(key, kept)
        self._writing = False

    async def _append(self, some: Iterable[tuple[Any, Batch, int, str, Entry, Spilled | None]]) -> list[str]:
        appends = [
            self.store.append(self.leases.log(str(batch.partition)), found, id=id) for _, batch, _, id, found, _ in some
        ]
        return list(await asyncio.gather(*appends))

    # -- going on ------------------------------------------------------------------------------------------------

    def drained(self, key: Any) -> None:
        """Nothing of a key waits in memory any more: go on with what was set aside."""
        kept = self.keys.get(key)
        if kept is not None:
            self.feed.table[key] = deque()
            kept.idle = True
            self._pull(key, kept)

    def _pull(self, key: Any, kept: Kept) -> None:
        if kept.places:
            if not self.lane.engine.stopping:
                kept.idle = False
                self.lane.engine.spawn(self._bring(key, kept))
        elif not kept.writing:
            del self.keys[key]
            self.feed.free(key)

    async def _bring(self, key: Any, kept: Kept) -> None:
        """The next records of a key, back into memory behind it."""
        some = [kept.places.popleft() for _ in range(min(CHUNK, len(kept.places)))]
        self.count -= len(some)
        lost = await self._patiently(
            lambda: self.leases.lost({one[0].removeprefix(self.leases.log("")) for one in some})
        )
        for name in lost:
            self._lose(name)
        found = await self._patiently(
            lambda: asyncio.gather(*(self.store.entries(one[0], after=_before(one[1]), count=1) for one in some))
        )
        theirs = {self.leases.log(name) for name in lost}
        for (stream, place, id, origin), entries in zip(some, found, strict=True):
            if entries and entries[0][0] == place and stream not in theirs:
                self._admit(key, entries[0][1])
            else:
                self._forget(id, origin)
        waiters = self.feed.table.get(key)
        if waiters:
            self.feed.release(key, waiters)
            self.lane.runner.freed()
        else:
            kept.idle = True
            self._pull(key, kept)

    def _admit(self, key: Any, found: Entry) -> None:
        back = Spilled.read(found, received=self.lane.engine.clock.monotonic())
        back.changed = self._finished
        self.lane.open.add(back)
        self.lane.runner.behind(back, key)

    # -- what is finished ----------------------------------------------------------------------------------------

    def _finished(self, batch: Batch) -> None:
        assert isinstance(batch, Spilled)
        if batch.written:
            self._remove(batch)

    def _remove(self, batch: Spilled) -> None:
        self._done.append((self.leases.log(str(batch.partition)), batch.id))
        self.floors.let_go(batch.origin(0))
        if not self._removing:
            self._removing = True
            self.lane.engine.spawn(self._remove_all())

    async def _remove_all(self) -> None:
        while self._done:
            some = list(self._done)
            ids: dict[str, list[str]] = defaultdict(list)
            for stream, id in some:
                ids[stream].append(id)
            await self._patiently(lambda: asyncio.gather(*(self.store.remove(*each) for each in ids.items())))  # noqa: B023
            for _, id in some:
                self._done.popleft()
                self._known.discard(id)
        self._removing = False

    # -- whose it is ---------------------------------------------------------------------------------------------

    async def take(self, batches: Iterable[Batch]) -> None:
        """Before the first record of a partition: take over what was set aside of it, whoever did."""
        for batch in batches:
            partition = batch.partition
            if not batch.waited and self.taken.get(partition) is not partition:
                name = str(partition)
                log = self.leases.log(name)
                if await self._patiently(lambda: self.store.entries(log, count=1)):  # noqa: B023
                    await self._patiently(lambda: self.leases.seize(name))  # noqa: B023
                    await self._load(name)
                self.taken[partition] = partition

    async def adopt(self) -> None:
        """From time to time: take over what nobody has, and leave what somebody has taken."""
        gained, lost = await self._patiently(self.leases.renew)
        for name in gained:
            await self._load(name)
        for name in lost:
            self._lose(name)

    async def _load(self, name: str) -> None:
        """Everything that was set aside of a partition, behind what we know of already."""
        stream, after = self.leases.log(name), ""
        keys: dict[Any, None] = {}
        while found := await self._patiently(lambda: self.store.entries(stream, after=after, count=CHUNK)):  # noqa: B023
            for after, fields in found:
                one = Spilled.read(fields, received=0.0)
                if one.id not in self._known:
                    key = self._key(one)
                    self._known.add(one.id)
                    self.floors.hold(one.origin(0), one.place(0))
                    self.keys.setdefault(key, Kept()).places.append((stream, after, one.id, one.origin(0)))
                    self.count += 1
                    keys[key] = None
        for key in keys:
            if key not in self.feed.table:
                self.drained(key)
            elif self.keys[key].idle:
                self._pull(key, self.keys[key])
            elif self.feed.table[key] is None:
                self.feed.table[key] = deque()

    def _key(self, one: Spilled) -> Any:
        """The order key; for a record that cannot be read any more, one of its own, under which it is refused."""
        try:
            return self.lane.records.key_of(self.lane.records.fresh(one, 0), one, 0)
        except Exception:
            return ("unreadable", one.id)

    def _lose(self, name: str) -> None:
        """Somebody else has this partition now: what is not in memory is theirs."""
        stream = self.leases.log(name)
        for key, kept in list(self.keys.items()):
            gone = [one for one in kept.places if one[0] == stream]
            kept.places = deque(one for one in kept.places if one[0] != stream)
            self.count -= len(gone)
            for _, _, id, origin in gone:
                self._forget(id, origin)
            if gone and kept.idle:
                self._pull(key, kept)

    def _forget(self, id: str, origin: str) -> None:
        self._known.discard(id)
        self.floors.let_go(origin)

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """However long the store is away: what it is done for waits anyway."""
        return await self.lane.engine.outages.through(work, "parked events")


def _before(place: str) -> str:
    """The place right before another one of a log.

    >>> _before("5-3"), _before("5-0")
    ('5-2', '4-18446744073709551615')
    """
    time, _, number = place.partition("-")
    return f"{time}-{int(number) - 1}" if number != "0" else f"{int(time) - 1}-18446744073709551615"
