"""One source stage at work: its feed, its program, the slots or waves that run it, the pumps that fill it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from penstock.connectors import Batch, Event, Message, Site, Source, Store
from penstock.connectors.template import names as braces
from penstock.connectors.watermark import Watermarks
from penstock.errors import BadEvent
from penstock.pipeline import graph as nodes
from penstock.pipeline.code.program import Program
from penstock.pipeline.engine.feed import Feed, keys_of
from penstock.pipeline.engine.marks import Marks
from penstock.pipeline.engine.outages import Outages
from penstock.pipeline.engine.outbox import Outbox
from penstock.pipeline.engine.trouble import Flight, Host, Trouble
from penstock.pipeline.engine.verdict import fatal
from penstock.pipeline.parking.spill import Spill
from penstock.stages.act import Sent
from penstock.stages.helper import Failure, together
from penstock.stages.payload import admits_none, decoder, getter, is_mapping, text_of

if TYPE_CHECKING:
    from penstock.pipeline.engine.confinement import Confinement
    from penstock.pipeline.engine.metrics import Metrics

WAVE = 128
WAVES = 3
SLICE_SECONDS = 0.001
TIMED_EVERY = 64
SAMPLE_SECONDS = 0.01


class Building(Host, Protocol):
    """What a lane needs of the engine, beside what trouble needs."""

    outages: Outages
    metrics: Metrics
    confinement: Confinement | None
    store: Store
    site: Site
    holding: bool
    spilling: bool
    watermarks: Watermarks | None

    def shut(self, lane: Lane) -> bool: ...
    def relieved(self) -> None: ...
    async def opened(self, lane: Lane) -> None: ...
    def names(self, lane: Lane) -> dict[str, Any]: ...


class Lane:
    """Everything between one `source(...)` of the declaration and the outboxes."""

    def __init__(self, engine: Building, source: nodes.Source) -> None:
        self.engine = engine
        self.source = source
        graph = engine.graph
        self.captured = any(braces(endpoint.address) for endpoint in source.endpoints)
        self.decode = decoder(source.schema, source.decode, self.captured)
        mapping = is_mapping(source.schema)
        get = getter(source.key, mapping) if source.key is not None else None
        self.key_of = _by_partition if graph.order == "partition" else keys_of(graph.order, get, str(source.key))
        self.identity = getter(source.identity, mapping) if source.identity is not None else None
        self.time = getter(source.time, mapping) if source.time is not None else None
        self.trouble = Trouble(engine, engine.outages, self.finish, fresh=self.fresh, slots=graph.concurrency)
        self.feed = Feed(partial(engine.shut, self), room=graph.concurrency)
        self.boxes: Sequence[Outbox] = ()
        self.counts = [0] * len(graph.nodes)
        self.received = 0
        self.open: set[Batch] = set()
        self.holds: dict[tuple[int, int], list[Any]] = {}
        self.keyed = graph.order != "none"
        self.program = Program(graph, source, engine.names(self), holding=engine.holding)
        self.trouble.program = self.program
        self.feed.admit = self.program.admit
        if graph.order == "key" and engine.spilling:
            self.feed.aside = self.trouble.aside = Spill(self, engine.store, engine.site.group)
        self.width = 0
        self._slice = 64
        self._spent = 0.0
        self._crowded = 16
        self._number = 0

    # -- names that the written functions use --------------------------------------------------------------------

    def engine_names(self) -> dict[str, Any]:
        """The engine's own names in the text of this lane's functions."""
        return {
            "BadEvent": BadEvent,
            "Failure": Failure,
            "counts": self.counts,
            "decode": self.decode,
            "deliver": deliver,
            "deliver_holding": self.deliver_holding,
            "describe": self.describe,
            "failed": self.trouble.failed,
            "fatal": fatal,
            "gather": asyncio.gather,
            "mark": Marks(self.source, self._declared, self.engine.watermarks, self._floor),
            "together": together,
            "key_of": self.key_of,
            "keyless": BadEvent(f"the key field {self.source.key} is null", status=422),
            "now": self.engine.clock.monotonic,
            "observe": self.engine.metrics.observe,
            "park": self.feed.park,
            "perf_counter": perf_counter,
            "push": self.feed.ready.append,
            "refuse": self.trouble.refuse,
            "free": self.feed.free,
            "table": self.feed.table,
            "troubled": self.troubled,
            "unusual": self.unusual,
            "wait": self.feed.wait,
        }

    def unusual(self, value: Any) -> Any:
        """A record without bytes: an envelope that could not be read, or a tombstone."""
        if isinstance(value, BadEvent):
            raise value
        if admits_none(self.source.schema):
            return None
        raise BadEvent("the record has no value (a tombstone), and the schema does not admit None", status=422)

    def _floor(self, batch: Batch, index: int) -> str:
        aside, floor = self.feed.aside, batch.floor()
        return aside.floors.below(batch.origin(index), floor) if floor and aside is not None and aside.floors else floor

    def fresh(self, batch: Batch, index: int) -> Any:
        """The payload of a record decoded once more: what a failed try did to the first one is not in it."""
        value = batch.values[index]
        if value.__class__ is not bytes:
            return value
        return self.decode(value, batch, index) if self.captured else self.decode(value)

    def identify(self, batch: Batch, index: int, payload: Any) -> str:
        """What the ids of the event's actions begin with: the declared field, else its position."""
        if self.identity is not None and payload is not None:
            found = self.identity(payload)
            if found.__class__ is str and found:
                return found
        return self._declared(payload) or batch.position(index)

    def _declared(self, payload: Any) -> str:
        return text_of(self.identity(payload)) if self.identity is not None and payload is not None else ""

    def distinct(self, payload: Any, batch: Batch, index: int) -> str:
        """What tells two events of this source apart: the declared id, else the source and id of the CloudEvent."""
        own = self._declared(payload)
        if own:
            return own
        event = batch.event(index)
        return f"{event.source}#{event.id}"

    def describe(self, batch: Batch, index: int, payload: Any, key: Any) -> Event:
        """The `event` that a function asked for."""
        event = batch.event(index)
        time = self.time(payload) if self.time is not None else None
        return Event(
            self._declared(payload) or event.id,
            event.source,
            event.type,
            event.subject,
            event.time if time is None else time,
            text_of(key) or event.key,
            event.topic,
            event.headers,
            payload,
        )

    def troubled(self, flight: Flight) -> None:
        """An event failed somewhere. Its key stays in flight until the event has ended."""
        if self.program.form == "loop" and self.keyed and flight.payload is not None:
            flight.key = self.key_of(flight.payload, flight.batch, flight.index)
            if flight.key is not None:
                self.feed.table.setdefault(flight.key, None)
        self.trouble.troubled(flight)

    def finish(self, flight: Flight) -> None:
        """An event that was in trouble has ended: hand over what it decided, and let its key go on."""
        batch, index = flight.batch, flight.index
        if flight.out:
            if self.engine.holding and self.deliver_holding(batch, index, flight.out, flight.key):
                return
            if not self.engine.holding:
                deliver(batch, index, flight.out)
        else:
            batch.settle(index)
        self.feed.free(flight.key)
        if self.program.form == "loop":
            self.redo()
        self.engine.relieved()

    def deliver_holding(self, batch: Batch, index: int, out: Sent, key: Any) -> bool:
        """Deliver; where a sink keeps no order, the key stays in flight until its messages have settled."""
        held = sum(not getattr(push, "__self__").sink.ordered for push, _ in out if hasattr(push, "__self__"))  # noqa: B009
        if held and key is not None and self.keyed:
            self.holds[id(batch), index] = [held, key]
            self.feed.table.setdefault(key, None)
            deliver(batch, index, out)
            return True
        deliver(batch, index, out)
        return False

    def unhold(self, message: Message) -> None:
        """A message of a sink without order has settled."""
        held = self.holds.get((id(message.batch), message.index))
        if held is not None:
            held[0] -= 1
            if held[0] == 0:
                del self.holds[id(message.batch), message.index]
                self.feed.free(held[1])

    # -- running -------------------------------------------------------------------------------------------------

    def workers(self) -> list[Any]:
        """The coroutines that run events: none for a loop, which its pumps run."""
        if self.program.form == "loop":
            return []
        if self.program.form == "wave":
            self.width = min(WAVES, self.engine.graph.concurrency)
            return [self._waves() for _ in range(self.width)]
        feed, self.width = self.feed, self.engine.graph.concurrency
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

    async def pump(self, source: Source) -> None:
        """Take what a source hands over, no faster than it can be run, until the source is stopped."""
        loop = self.program.form == "loop"
        while True:
            if self.engine.shut(self):
                await self.engine.opened(self)
            if not loop:
                await self.feed.hungry()
            batches = await source.receive()
            if not batches:
                return
            self._take(batches)
            if self.feed.aside is not None:
                await self.feed.aside.take(batches)
            confinement = self.engine.confinement
            if confinement is not None and confinement.watching:
                for batch in batches:
                    await confinement.run(self, batch)
                continue
            if not loop:
                self.feed.add(batches)
                continue
            for batch in batches:
                await self._run(batch)

    def _take(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            self.received += len(batch)
        self.open.update(batches)
        if len(self.open) > self._crowded:
            self.open = {batch for batch in self.open if batch.left}
            self._crowded = 2 * len(self.open) + 16

    async def _run(self, batch: Batch) -> None:
        """A batch through a loop, in slices of about a millisecond, with a breath for everyone else in between."""
        run, timed, count = self.program.run, self.program.timed, len(batch)
        start = 0
        while start < count and not batch.fenced:
            if self.feed.ready:
                self.redo()
            if self.engine.shut(self):
                await self.engine.opened(self)
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

    def redo(self) -> None:
        """Run records that waited behind a key, in a loop's way."""
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

    async def _waves(self) -> None:
        feed, size = self.feed, max(1, min(WAVE, self.engine.graph.concurrency // WAVES))
        while True:
            rows = feed.rows(size)
            if not rows:
                if not await feed.arrive():
                    return
                continue
            self._number += 1
            await (self.program.timed if self._number % TIMED_EVERY == 1 else self.program.run)(rows)

    @property
    def full(self) -> bool:
        """Whether as many events wait behind keys as may, in the store or, in a loop, in memory; the other forms' feeds
        see to that themselves.
        """
        if self.feed.aside is not None and self.feed.aside.full:
            return True
        return self.program.form == "loop" and self.feed.full

    @property
    def quiet(self) -> bool:
        """Whether no event is running: what is here waits for the outside, for a moment, or behind such an event."""
        feed = self.feed
        return not feed.ready and not feed.batches and feed.idle == self.width

    @property
    def in_flight(self) -> int:
        """Records received that are not finished."""
        self.open = {batch for batch in self.open if batch.left}
        return sum(batch.left for batch in self.open)


def deliver(batch: Batch, index: int, out: Sent) -> None:
    """Hand an event's actions over, all at once; the event is finished when each is confirmed."""
    if len(out) > 1:
        batch.owe(index, len(out) - 1)
    for push, message in out:
        push(message)


def _by_partition(payload: Any, batch: Batch, index: int) -> Any:
    return batch.partition


def _next_slice(size: int, took: float) -> int:
    """The number of events that would have taken about a millisecond, changed by at most a factor of two."""
    wanted = int(size * SLICE_SECONDS / max(took, 1e-6))
    return max(16, min(wanted, size * 2, 4096)) if wanted > size // 2 else max(16, size // 2)
