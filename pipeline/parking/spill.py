"""Keys that wait for long: set aside in the store, in order, so that neither memory nor other keys wait with them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from penstock.connectors import Batch, Partition, Store
from penstock.pipeline.lines import log
from penstock.pipeline.parking.floors import Floors
from penstock.pipeline.parking.leases import Leases
from penstock.pipeline.parking.log import CHUNK, Leaving, Log, Place
from penstock.pipeline.parking.spilled import Entry, Spilled, entry, identity

if TYPE_CHECKING:
    from penstock.pipeline.engine.feed import Row
    from penstock.pipeline.engine.flight import Flight
    from penstock.pipeline.engine.lane import Lane

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
        self.leases = Leases(store, group, lane.source.stage)
        self.log = Log(store, self.leases, lane.engine.outages, lane.engine.spawn, self._written)
        self.floors = Floors()
        self.keys: dict[Any, Kept] = {}
        self.count = 0
        self.taken: dict[Partition, Partition] = {}

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
        if self.lane.engine.confinement is not None:
            self.lane.engine.confinement.follow(copy)
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
        self.log.append(Leaving(key, batch, index, identity(batch, index), found, copy))

    def _written(self, one: Leaving, place: str) -> None:
        """A record lies in the log: it is finished at its source."""
        batch, index, copy = one.batch, one.index, one.copy
        kept, known = self.keys[one.key], self.log.known
        kept.writing -= 1
        if copy is not None:
            copy.written = True
            known.add(one.id)
            if not copy.left:
                self._remove(copy)
        elif one.id in known:
            self.floors.let_go(batch.origin(index))
        else:
            known.add(one.id)
            kept.places.append(Place(self.leases.log(str(batch.partition)), place, one.id, batch.origin(index)))
            self.count += 1
        self.feed.leave(batch, index)
        batch.settle(index)
        if kept.idle and (kept.places or not kept.writing):
            self._pull(one.key, kept)

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
        """The next records of a key, back into memory behind it: one, where it is looked for which ends the process."""
        confinement = self.lane.engine.confinement
        watching = confinement is not None and confinement.watching
        some = [kept.places.popleft() for _ in range(min(1 if watching else CHUNK, len(kept.places)))]
        self.count -= len(some)
        names = {one.stream.removeprefix(self.leases.log("")) for one in some}
        lost = await self.log.patiently(lambda: self.leases.lost(names))
        for name in lost:
            self._lose(name)
        theirs = {self.leases.log(name) for name in lost}
        for one, found in zip(some, await self.log.read(some), strict=True):
            if found is None or one.stream in theirs:
                self._forget(one)
            elif confinement is None or not watching:
                self.lane.runner.behind(self._back(found), key)
            elif await confinement.take_back(self.lane, back := self._back(found), partial(self._go_on, key, back)):
                return
        if not self._go_on(key):
            kept.idle = True
            self._pull(key, kept)

    def _back(self, found: Entry) -> Spilled:
        back = Spilled.read(found, received=self.lane.engine.clock.monotonic())
        back.changed = self._finished
        self.lane.open.add(back)
        return back

    def _go_on(self, key: Any, back: Spilled | None = None) -> bool:
        """Have the first that waits behind a key run, if any does; `back` waits there too from now on."""
        if back is not None:
            self.lane.runner.behind(back, key)
        waiters = self.feed.table.get(key)
        if not waiters:
            return False
        self.feed.release(key, waiters)
        self.lane.runner.freed()
        return True

    # -- what is finished ----------------------------------------------------------------------------------------

    def _finished(self, batch: Batch) -> None:
        assert isinstance(batch, Spilled)
        if batch.written:
            self._remove(batch)

    def _remove(self, batch: Spilled) -> None:
        self.log.remove(str(batch.partition), batch.id)
        self.floors.let_go(batch.origin(0))

    # -- whose it is ---------------------------------------------------------------------------------------------

    async def take(self, batches: Iterable[Batch]) -> None:
        """Before the first record of a partition: take over what was set aside of it, whoever did."""
        for batch in batches:
            partition = batch.partition
            if not batch.waited and self.taken.get(partition) is not partition:
                name = str(partition)
                if not await self.log.empty(name):
                    await self.log.patiently(lambda: self.leases.seize(name))  # noqa: B023
                    await self._load(name)
                self.taken[partition] = partition

    async def adopt(self) -> None:
        """From time to time: take over what nobody has, and leave what somebody has taken."""
        gained, lost = await self.log.patiently(self.leases.renew)
        for name in gained:
            await self._load(name)
        for name in lost:
            self._lose(name)

    async def _load(self, name: str) -> None:
        """Everything that was set aside of a partition, behind what we know of already."""
        stream = self.leases.log(name)
        keys: dict[Any, None] = {}
        async for place, found in self.log.all(name):
            one = Spilled.read(found, received=0.0)
            if one.id not in self.log.known:
                key = self._key(one)
                self.log.known.add(one.id)
                self.floors.hold(one.origin(0), one.place(0))
                self.keys.setdefault(key, Kept()).places.append(Place(stream, place, one.id, one.origin(0)))
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
            gone = [one for one in kept.places if one.stream == stream]
            kept.places = deque(one for one in kept.places if one.stream != stream)
            self.count -= len(gone)
            for one in gone:
                self._forget(one)
            if gone and kept.idle:
                self._pull(key, kept)

    def _forget(self, one: Place) -> None:
        self.log.known.discard(one.id)
        self.floors.let_go(one.origin)
