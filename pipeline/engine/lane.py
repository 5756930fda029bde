"""One source stage at work: its records, its feed, its program and what runs it, and the pumps that fill it."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from penstock.connectors import Batch, Message, Site, Source, Store
from penstock.connectors.watermark import Watermarks
from penstock.pipeline import graph as nodes
from penstock.pipeline.code.program import Program
from penstock.pipeline.engine.delivery import Holds, deliver
from penstock.pipeline.engine.far import FarRecords
from penstock.pipeline.engine.feed import Feed
from penstock.pipeline.engine.flight import Flight
from penstock.pipeline.engine.gate import Gate
from penstock.pipeline.engine.outages import Outages
from penstock.pipeline.engine.outboxes import Outboxes
from penstock.pipeline.engine.records import Records
from penstock.pipeline.engine.runners import RUNNERS
from penstock.pipeline.engine.trouble import Host, Trouble
from penstock.pipeline.parking.spill import Spill

if TYPE_CHECKING:
    from penstock.pipeline.engine.confinement import Confinement
    from penstock.pipeline.engine.metrics import Metrics


class Building(Host, Protocol):
    """What a lane needs of the engine, beside what trouble needs."""

    outages: Outages
    outboxes: Outboxes
    gate: Gate
    metrics: Metrics
    confinement: Confinement | None
    store: Store
    site: Site
    holding: bool
    spilling: bool
    watermarks: Watermarks | None

    def names(self, lane: Lane) -> dict[str, Any]: ...


class Lane:
    """Everything between one `source(...)` of the declaration and the outboxes.

    - `counts`: by number of the stage, how many events ended there.
    - `received`: records so far.
    - `open`: batches of which something may not be finished yet.
    """

    def __init__(self, engine: Building, source: nodes.Source) -> None:
        self.engine = engine
        self.source = source
        graph = engine.graph
        self.keyed = graph.order != "none"
        self.records = (Records if source.forward is None else FarRecords)(source, graph.order)
        self.trouble = Trouble(engine, engine.outages, self.finish, records=self.records, slots=graph.concurrency)
        self.feed = Feed(partial(engine.gate.shut, self), room=graph.concurrency)
        self.holds = Holds(self.feed, keyed=self.keyed)
        self.boxes = engine.outboxes.after(source)
        self.counts = [0] * len(graph.nodes)
        self.received = 0
        self.open: set[Batch] = set()
        self._crowded = 16
        self.program = Program(graph, source, engine.names(self), holding=engine.holding)
        self.trouble.program = self.program
        self.feed.admit = self.program.admit
        self.runner = RUNNERS[self.program.form](self)
        if graph.order == "key" and engine.spilling:
            self.feed.aside = self.trouble.aside = Spill(self, engine.store, engine.site.group)

    def workers(self) -> list[Coroutine[Any, Any, None]]:
        """The coroutines that run events."""
        return self.runner.workers()

    async def pump(self, source: Source) -> None:
        """Take what a source hands over, no faster than it can be run, until the source is stopped."""
        gate = self.engine.gate
        while True:
            if gate.shut(self):
                await gate.opened(self)
            await self.runner.hungry()
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
            else:
                await self.runner.take(batches)

    def _take(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            self.received += len(batch)
        self.open.update(batches)
        if len(self.open) > self._crowded:
            self._prune()
            self._crowded = 2 * len(self.open) + 16

    def _prune(self) -> None:
        """Let go of batches that are finished, or another's by now."""
        self.open = {batch for batch in self.open if batch.left and not batch.void}

    def floor(self, batch: Batch, index: int) -> str:
        """The place below which nothing of a record's origin is left: its source's, or that of what was set aside."""
        aside, floor = self.feed.aside, batch.floor()
        return aside.floors.below(batch.origin(index), floor) if floor and aside is not None and aside.floors else floor

    def troubled(self, flight: Flight) -> None:
        """An event failed somewhere. Its key stays in flight until the event has ended."""
        self.runner.claim(flight)
        self.trouble.troubled(flight)

    def finish(self, flight: Flight) -> None:
        """An event that was in trouble has ended: hand over what it decided, and let its key go on."""
        batch, index = flight.batch, flight.index
        if not flight.out:
            batch.settle(index)
        elif not self.engine.holding:
            deliver(batch, index, flight.out)
        elif self.holds.deliver(batch, index, flight.out, flight.key):
            return
        self.feed.free(flight.key)
        self.runner.freed()
        self.engine.gate.relieved()

    def unhold(self, message: Message) -> None:
        """A message of a sink without order has settled."""
        self.holds.settled(message)
        self.runner.freed()

    @property
    def full(self) -> bool:
        """Whether as many events wait behind keys as may, in the store or in memory."""
        aside = self.feed.aside
        return (aside is not None and aside.full) or self.runner.full

    @property
    def quiet(self) -> bool:
        """Whether no event is running: what is here waits for the outside, for a moment, or behind such an event."""
        feed = self.feed
        return not feed.ready and not feed.batches and feed.idle == self.runner.width

    @property
    def in_flight(self) -> int:
        """Records received that are not finished."""
        self._prune()
        return sum(batch.left for batch in self.open)
