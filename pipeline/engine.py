"""The engine: opens what a graph names, runs its events, confirms what is finished, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from penstock.connectors import Batch, Endpoint, Message, Sink, Site, Source, Store
from penstock.connectors.protocol import Rewindable
from penstock.connectors.watermark import Watermarks
from penstock.errors import Unavailable
from penstock.pipeline.binding import Binding
from penstock.pipeline.clock import Clock, SystemClock
from penstock.pipeline.confinement import Confinement
from penstock.pipeline.durability import assure
from penstock.pipeline.far import FarLane
from penstock.pipeline.graph import Graph
from penstock.pipeline.kept import compare
from penstock.pipeline.lane import Lane
from penstock.pipeline.letters import Letters
from penstock.pipeline.metrics import Metrics
from penstock.pipeline.once import Keeping
from penstock.pipeline.outages import Outages
from penstock.pipeline.outbox import Outbox
from penstock.pipeline.place import place
from penstock.pipeline.statistics import statistics
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
        self.store = store
        self.clock: Clock = clock or SystemClock()
        self.letters = Letters(store, site.group)
        self.outages = Outages(self.clock, self.wake)
        self.metrics = Metrics(self)
        self.confinement = confinement
        self.stopping = False
        self.ready = False
        self.lanes: list[Lane] = []
        self.sources: dict[str, tuple[Lane, Source]] = {}
        self.outboxes: dict[str, Outbox] = {}
        self.holding = False
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
        self._waits: dict[str, str] = {}
        self._was_shut = False

    # -- life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open everything and begin. A server that does not answer yet is waited for; a wrong setting raises."""
        sources = [(node, self.endpoint(at)) for node in self.graph.sources for at in node.endpoints]
        opened = [(node, place(at), at.source(self.site)) for node, at in sources]
        sinks = self._sinks()
        await self._together(
            self._patiently("store", self._open_store),
            *(self._patiently(f"model {ref}", partial(self._load_model, ref)) for ref in self.graph.models),
            *(
                self._patiently(where, partial(sink.open, self.outboxes[where].settled))
                for where, sink in sinks.items()
            ),
        )
        await self._patiently("store", self._compare)
        for name, opener in self.graph.resources.items():
            self.resources[name] = await self._exits.enter_async_context(opener())
        self.lanes = [(Lane if node.forward is None else FarLane)(self, node) for node in self.graph.sources]
        by_node = {lane.source.id: lane for lane in self.lanes}
        for lane in self.lanes:
            self.workers += [asyncio.ensure_future(work) for work in lane.workers()]
        await self._together(*(self._read(by_node[node.id], where, source) for node, where, source in opened))
        self.ready = True

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
                lane.redo() if lane.program.form == "loop" else lane.feed.wake()
            await asyncio.sleep(0 if self._work else 0.005)

    async def _close(self) -> None:
        for address, (_, source) in self.sources.items():
            await self._quietly(address, source.close)
        for address, box in self.outboxes.items():
            await self._quietly(address, box.sink.close)
        await self._quietly("resources", self._exits.aclose)
        await self._quietly("store", self.store.close)
        await self._quietly("site", self.site.close)

    async def _quietly(self, what: str, close: Callable[[], Awaitable[None]]) -> None:
        """Closing goes on with the next when one fails."""
        try:
            await close()
        except Exception as error:
            log.warning("%s did not close: %s", what, error)

    async def _patiently(self, what: str, open_it: Callable[[], Awaitable[None]]) -> None:
        """Open, and while the server does not answer, say so and try again, ever more slowly."""
        delay = 0.25
        while True:
            try:
                await open_it()
            except Unavailable as error:
                if what not in self._waits:
                    log.warning("waiting for %s: %s", what, error)
                self._waits[what] = str(error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5.0)
            else:
                if self._waits.pop(what, None) is not None:
                    log.warning("%s answers", what)
                return

    async def _read(self, lane: Lane, where: str, source: Source) -> None:
        if self.watermarks is not None and isinstance(source, Rewindable):
            source.watermarks = self.watermarks
        await self._patiently(where, source.open)
        self.sources[where] = (lane, source)
        self.pumps.append(asyncio.ensure_future(lane.pump(source)))

    async def _together(self, *openings: Coroutine[Any, Any, None]) -> None:
        """Open at once what does not need each other. The first that cannot be opened ends the others."""
        tasks = [asyncio.ensure_future(opening) for opening in openings]
        try:
            await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def _open_store(self) -> None:
        await self.store.open()
        await assure(self.store, self.site.settings.process.durability)
        await compare(self.store, self.site.group, self.graph)
        if self.graph.updating:
            self.watermarks = Watermarks(self.store, f"penstock:{self.site.group}:watermarks")
            await self.watermarks.open()

    async def _compare(self) -> None:
        await compare(self.store, self.site.group, self.graph)

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

    def shut(self) -> bool:
        """Whether nothing new may start: an outage, too many actions unconfirmed, events in trouble or behind keys."""
        self._was_shut = (
            bool(self.outages.down)
            or sum(box.unsettled for box in self.outboxes.values()) > UNCONFIRMED
            or sum(lane.trouble.flights for lane in self.lanes) > TROUBLED
            or any(lane.full for lane in self.lanes)
        )
        return self._was_shut

    async def opened(self) -> None:
        """Wait until something new may start."""
        while self.shut() and not self.stopping:
            if self._opened is None or self._opened.done():
                self._opened = asyncio.get_running_loop().create_future()
            await self._opened

    def wake(self) -> None:
        """Something that kept events from starting is over."""
        self._open_gate()
        for lane in self.lanes:
            if lane.program.form == "loop":
                lane.redo()
            else:
                lane.feed.wake()

    @property
    def busy(self) -> bool:
        """Whether anything is running now, rather than waiting for a moment or for the outside."""
        return bool(self._work) or any(not box.idle for box in self.outboxes.values())

    def relieved(self) -> None:
        """Actions were confirmed, or an event in trouble has ended: there may be room for new events."""
        if self._was_shut and not self.shut():
            self.wake()

    def _open_gate(self) -> None:
        if self._opened is not None and not self._opened.done():
            self._opened.set_result(None)

    def event_id(self, batch: Batch, index: int, payload: Any) -> str:
        """The id of an event of any lane."""
        lane = next((lane for lane in self.lanes if batch in lane.open), self.lanes[0])
        return lane.identify(batch, index, payload)

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
            if lane.program.form == "loop":
                lane.redo()

    def _undelivered(self, where: str, message: Message, error: BaseException) -> None:
        lane = next((lane for lane in self.lanes if message.batch in lane.open), self.lanes[0])
        lane.trouble.undelivered(message, where, error)

    # -- seen from outside ---------------------------------------------------------------------------------------

    def problems(self) -> list[str]:
        """What keeps the pipeline from being ready, one line each; empty when it is."""
        found = [f"waiting for {what}: {why}" for what, why in self._waits.items()]
        found += [f"{address}: {source.problem}" for address, (_, source) in self.sources.items() if source.problem]
        found += [f"{address}: {box.sink.problem}" for address, box in self.outboxes.items() if box.sink.problem]
        found += [f"store: {self.store.problem}"] if self.store.problem else []
        found += [f"{dependency} is not available: {why}" for dependency, (_, why) in self.outages.down.items()]
        if self.stopping:
            found.append("stopping")
        elif not self.ready and not found:
            found.append("starting")
        return found

    def statistics(self) -> dict[str, Mapping[str, float]]:
        """The engine's counts, by metric and name."""
        return statistics(self)
