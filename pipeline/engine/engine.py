"""The engine: opens what a graph names, runs its events, confirms what is finished, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from penstock.connectors import Endpoint, Message, Sink, Site, Source, Store
from penstock.connectors.protocol import Rewindable, Watched
from penstock.connectors.watermark import Watermarks
from penstock.pipeline.clock import Clock, SystemClock
from penstock.pipeline.code import reachable
from penstock.pipeline.engine.binding import Binding
from penstock.pipeline.engine.claims import Claims
from penstock.pipeline.engine.confinement import Confinement
from penstock.pipeline.engine.durability import assure
from penstock.pipeline.engine.kept import compare
from penstock.pipeline.engine.lane import Lane
from penstock.pipeline.engine.metrics import Metrics
from penstock.pipeline.engine.once import Keeping
from penstock.pipeline.engine.opening import Opening, quietly, together
from penstock.pipeline.engine.outages import Outages
from penstock.pipeline.engine.outbox import Outbox
from penstock.pipeline.engine.statistics import problems, statistics
from penstock.pipeline.graph import Act, Graph
from penstock.pipeline.graph import Source as SourceNode
from penstock.pipeline.letters.letters import Letters
from penstock.pipeline.letters.limits import LimitedLetters
from penstock.pipeline.parking.leases import LEASE
from penstock.pipeline.place import place
from penstock.stages.inference import Predictor

log = logging.getLogger("penstock")

UNCONFIRMED = 20_000
"""Actions handed to sinks and not confirmed, past which nothing new starts."""

TROUBLED = 10_000
"""Events that failed and are not settled yet, past which nothing new starts."""

Model = tuple[Predictor, Callable[[Any], Callable[[Any], Any]]]
"""A loaded model: who answers, and for a type of features the function that makes its rows."""


class Engine:
    """Runs one graph in this process.

    `site` opens the endpoints, `store` keeps state and dead letters, `models` loads a model by its reference.
    `endpoint` may put another endpoint in the place of a declared one (the harness does, and `penstock dev`).
    `confinement` is a worker's, whose parent wants to know what ends it.
    """

    def __init__(
        self,
        graph: Graph,
        site: Site,
        store: Store,
        *,
        models: Callable[[str], Awaitable[Model]] | None = None,
        clock: Clock | None = None,
        endpoint: Callable[[Endpoint], Endpoint] = lambda endpoint: endpoint,
        confinement: Confinement | None = None,
    ) -> None:
        self.graph = graph
        self.site = site
        self.store = site.store = store
        self.clock: Clock = clock or SystemClock()
        self.letters: Letters = LimitedLetters(store, site, self, endpoint)
        self.outages = Outages(self.clock, self.wake)
        self.claims = Claims(self)
        self.metrics = Metrics(self)
        self.confinement = confinement
        self.stopping = False
        self.ready = False
        self.lanes: list[Lane] = []
        self.sources: dict[str, tuple[Lane, Source]] = {}
        self.outboxes: dict[str, Outbox] = {}
        self.holding = False
        self.spilling = True
        self.models: dict[str, Model] = {}
        self.resources: dict[str, Any] = {}
        self.watermarks: Watermarks | None = None
        self._load = models
        self.endpoint = endpoint
        self._exits = AsyncExitStack()
        self._work: set[asyncio.Task[None]] = set()
        self.workers: list[asyncio.Task[None]] = []
        self.pumps: list[asyncio.Task[None]] = []
        self._opened: asyncio.Future[None] | None = None
        self.opening = Opening()
        self._was_shut = False

    # -- life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open everything and begin. A server that does not answer yet is waited for; a wrong setting raises."""
        sources = [(node, self.endpoint(at)) for node in self.graph.sources for at in node.endpoints]
        opened = [(node, place(at), at.source(self.site)) for node, at in sources]
        sinks = self._sinks()
        await together(
            self.opening.patiently("store", self._open_store),
            *(self.opening.patiently(f"model {ref}", partial(self._load_model, ref)) for ref in self.graph.models),
            *(
                self.opening.patiently(where, partial(sink.open, self.outboxes[where].settled))
                for where, sink in sinks.items()
            ),
        )
        await self.opening.patiently("dead letters", self.letters.open)
        for name, opener in self.graph.resources.items():
            self.resources[name] = await self._exits.enter_async_context(opener())
        self.lanes = [Lane(self, node) for node in self.graph.sources]
        for lane in self.lanes:
            lane.boxes = self._boxes(lane.source)
        by_node = {lane.source.id: lane for lane in self.lanes}
        for lane in self.lanes:
            self.workers += [asyncio.ensure_future(work) for work in lane.workers()]
        # The far side of a through first: a stream that nobody has subscribed to yet keeps only its newest entries.
        for far in (True, False):
            due = (one for one in opened if (one[0].forward is not None) == far)
            await together(*(self._read(by_node[node.id], where, source) for node, where, source in due))
        self._adopt()
        self.ready = True

    def _adopt(self) -> None:
        """From time to time, go on with what was set aside and nobody has."""
        asides = [lane.feed.aside for lane in self.lanes if lane.feed.aside is not None]
        if asides and not self.stopping:
            for aside in asides:
                self.spawn(aside.adopt())
            self.clock.call_later(LEASE / 3, self._adopt)

    async def run(self) -> None:
        """Until every source has ended, or something breaks that nobody foresaw: that is raised."""
        running = [*self.pumps, *self.workers]
        done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()

    async def stop(self, grace: float = 25.0) -> None:
        """Take nothing new, finish what runs within `grace` seconds, confirm it, and close everything."""
        self.stopping = True
        self.ready = False
        for _, source in self.sources.values():
            source.stop()
        self._open_gate()
        try:
            async with asyncio.timeout(grace):
                await self.drained()
        except TimeoutError:
            log.warning(
                "%d events did not finish in %.0f s: they come again", sum(lane.in_flight for lane in self.lanes), grace
            )
        for task in [*self.workers, *self.pumps, *self._work]:
            task.cancel()
        await asyncio.gather(*self.workers, *self.pumps, *self._work, return_exceptions=True)
        await self._close()

    async def drained(self) -> None:
        """Wait until the sources are read out, every event taken has ended, and every action is settled."""
        await asyncio.gather(*self.pumps)
        for lane in self.lanes:
            lane.feed.close()
        await asyncio.gather(*self.workers)
        while self.busy or (not self.outages.down and any(lane.trouble.flights for lane in self.lanes)):
            for box in self.outboxes.values():
                box.flush()
                await box.sink.flush()
            if self._work:
                await asyncio.wait(self._work, return_when=asyncio.FIRST_COMPLETED)
            for lane in self.lanes:
                lane.runner.wake()
            await asyncio.sleep(0 if self._work else 0.005)

    async def _close(self) -> None:
        for address, (_, source) in self.sources.items():
            await quietly(address, source.close)
        for address, box in self.outboxes.items():
            await quietly(address, box.sink.close)
        await quietly("dead letters", self.letters.close)
        for lane in self.lanes:
            if lane.feed.aside is not None:
                await quietly("parked events", lane.feed.aside.leases.close)
        await quietly("resources", self._exits.aclose)
        await quietly("store", self.store.close)
        await quietly("site", self.site.close)

    async def _read(self, lane: Lane, where: str, source: Source) -> None:
        if self.watermarks is not None and isinstance(source, Rewindable):
            source.watermarks = self.watermarks
        await self.opening.patiently(where, source.open)
        self.sources[where] = (lane, source)
        self.pumps.append(asyncio.ensure_future(lane.pump(source)))

    async def _open_store(self) -> None:
        await self.store.open()
        await assure(self.store, self.site.settings.process.durability)
        await compare(self.store, self.site.group, self.graph)
        if self.graph.updating:
            self.watermarks = Watermarks(self.store, f"penstock:{self.site.group}:watermarks")
            await self.watermarks.open()

    async def _load_model(self, ref: str) -> None:
        assert self._load is not None, f"nothing loads models, and the pipeline asks for {ref}"
        self.models[ref] = await self._load(ref)

    # -- what lanes and trouble need -----------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the slots: a retry, a dead letter. Only failures pay for a task."""
        task = asyncio.ensure_future(work)
        self._work.add(task)
        task.add_done_callback(self._spawned)

    def _spawned(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a failure could not be dealt with", exc_info=task.exception())

    def shut(self, lane: Lane) -> bool:
        """Whether nothing new may start: an outage, too many actions unconfirmed, events in trouble or behind keys.

        The far side of a through goes on while its near side waits for room in the topic, or there would never be any.
        """
        found = (
            bool(self.outages.down)
            or self.letters.full
            or sum([box.unsettled for box in lane.boxes]) > UNCONFIRMED
            or lane.trouble.flights > min(TROUBLED, self.letters.room)
            or lane.full
        )
        self._was_shut |= found
        return found

    async def opened(self, lane: Lane) -> None:
        """Wait until something new may start."""
        while self.shut(lane) and not self.stopping:
            if self._opened is None or self._opened.done():
                self._opened = asyncio.get_running_loop().create_future()
            await self._opened

    def wake(self) -> None:
        """Something that kept events from starting is over."""
        self._open_gate()
        for lane in self.lanes:
            lane.runner.wake()

    @property
    def busy(self) -> bool:
        """Whether anything is running now, rather than waiting for a moment or for the outside."""
        return bool(self._work) or any(not box.idle for box in self.outboxes.values())

    def relieved(self) -> None:
        """Actions were confirmed, or an event in trouble has ended: there may be room for new events."""
        if self._was_shut:
            shut = [self.shut(lane) for lane in self.lanes]
            self._was_shut = any(shut)
            if not all(shut):
                self.wake()

    def _open_gate(self) -> None:
        if self._opened is not None and not self._opened.done():
            self._opened.set_result(None)

    def names(self, lane: Lane) -> dict[str, Any]:
        """Everything the written functions of a lane call, under the names they use."""
        return Binding(self).names(lane)

    # -- opening -------------------------------------------------------------------------------------------------

    def _sinks(self) -> dict[str, Sink]:
        """One sink and one outbox for each endpoint that is acted to."""
        sinks: dict[str, Sink] = {}
        recorded = () if self.graph.record is None else (self.graph.record,)
        for targets in (*(act.to for act in self.graph.acts), recorded):
            for declared in targets:
                endpoint = self.endpoint(declared)
                where = place(endpoint)
                if where == "reply" or where in sinks:
                    continue
                sinks[where] = sink = endpoint.sink(self.site)
                if isinstance(sink, Watched):
                    sink.watch(self.outages)
                self.outboxes[where] = self._outbox(where)(
                    sink,
                    where,
                    clock=self.clock,
                    outage=self.outages.report,
                    recovered=self.outages.clear,
                    undelivered=partial(self._undelivered, where),
                    sampled=self._sampled,
                    unheld=self._unheld,
                    relieved=self.relieved,
                )
        self.holding = self.graph.order != "none" and any(not sink.ordered for sink in sinks.values())
        return sinks

    def _boxes(self, source: SourceNode) -> list[Outbox]:
        """The outboxes that what follows a source acts to."""
        after = (node for node in reachable(self.graph, source) if isinstance(node, Act))
        declared = [at for act in after for at in act.to]
        declared += [] if self.graph.record is None else [self.graph.record]
        places = {place(self.endpoint(at)) for at in declared}
        return [box for where, box in self.outboxes.items() if where in places]

    def _outbox(self, where: str) -> Callable[..., Outbox]:
        """What makes the outbox of an endpoint: one that keeps actions where an act declares `once`."""
        stages = {
            act.stage: act.once
            for act in self.graph.acts
            if act.once is not None and any(place(self.endpoint(declared)) == where for declared in act.to)
        }
        return partial(Keeping, host=self, pipeline=self.site.group, stages=stages) if stages else Outbox

    def _sampled(self, message: Message) -> None:
        """One of the actions that were confirmed together: how long it took since its event came."""
        received = message.batch.received
        if received:
            self.metrics.decided(max(self.clock.monotonic() - received, 0.0))

    def _unheld(self, message: Message) -> None:
        for lane in self.lanes:
            lane.unhold(message)

    def _undelivered(self, where: str, message: Message, error: BaseException) -> None:
        lane = next((lane for lane in self.lanes if message.batch in lane.open), self.lanes[0])
        lane.trouble.undelivered(message, where, error)

    def problems(self) -> list[str]:
        """What keeps the pipeline from being ready, one line each; empty when it is."""
        return problems(self)

    def statistics(self) -> dict[str, Mapping[str, float]]:
        """The engine's counts, by metric and name."""
        return statistics(self)
