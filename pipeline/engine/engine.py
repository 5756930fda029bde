"""The engine: opens what a graph names, runs its events, confirms what is finished, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from penstock.connectors import Endpoint, Site, Source, Store
from penstock.connectors.protocol import Reconnecting, Rewindable
from penstock.connectors.watermark import Watermarks
from penstock.pipeline.clock import Clock, SystemClock
from penstock.pipeline.engine.binding import Binding
from penstock.pipeline.engine.claims import Claims
from penstock.pipeline.engine.confinement import Confinement
from penstock.pipeline.engine.durability import Assurance
from penstock.pipeline.engine.gate import Gate
from penstock.pipeline.engine.generation import generation, watermarks_key
from penstock.pipeline.engine.kept import compare
from penstock.pipeline.engine.lane import Lane
from penstock.pipeline.engine.lingering import Lingering
from penstock.pipeline.engine.metrics import Metrics
from penstock.pipeline.engine.opening import Opening, quietly, together
from penstock.pipeline.engine.outages import Outages
from penstock.pipeline.engine.outboxes import Outboxes
from penstock.pipeline.engine.statistics import problems, statistics
from penstock.pipeline.graph import Graph
from penstock.pipeline.letters.letters import Letters
from penstock.pipeline.letters.limits import LimitedLetters
from penstock.pipeline.parking.leases import LEASE
from penstock.pipeline.place import place
from penstock.stages.inference import Predictor

log = logging.getLogger("penstock")

Model = tuple[Predictor, Callable[[Any], Callable[[Any], Any]]]
"""A loaded model: who answers, and for a type of features the function that makes its rows."""


class Engine:
    """Runs one graph in this process.

    `site` opens the endpoints, `store` keeps state and dead letters, `models` loads a model by its reference.
    `endpoint` may put another endpoint in the place of a declared one (the harness does, and `penstock dev`).
    `confinement` is a worker's, whose parent wants to know what ends it.

    - `holding`: whether some sink keeps no order, so that keys wait until it has settled.
    - `spilling`: whether keys that wait for long may be set aside in the store; to be said before the start.
    - `workers`, `pumps`: the tasks that run events, and those that take them from their sources.
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
        self.assurance = Assurance(store, site.settings.process.durability, self.spawn)
        self.letters: Letters = LimitedLetters(store, site, self, endpoint)
        self.gate = Gate(self)
        self.outages = Outages(self.clock, self.gate.wake)
        self.claims = Claims(self)
        self.metrics = Metrics(self)
        self.confinement = confinement
        self.stopping = False
        self.ready = False
        self.lanes: list[Lane] = []
        self.sources: dict[str, tuple[Lane, Source]] = {}
        self.outboxes = Outboxes(self)
        self.holding = False
        self.spilling = True
        self.models: dict[str, Model] = {}
        self.resources: dict[str, Any] = {}
        self.watermarks: Watermarks | None = None
        self.generation = ""
        self._load = models
        self.endpoint = endpoint
        self._exits = AsyncExitStack()
        self._work: set[asyncio.Task[None]] = set()
        self.workers: list[asyncio.Task[None]] = []
        self.pumps: list[asyncio.Task[None]] = []
        self.opening = Opening()
        self.lingering = Lingering(self)

    async def start(self) -> None:
        """Open everything and begin. A server that does not answer yet is waited for; a wrong setting raises."""
        sources = [(node, self.endpoint(at)) for node in self.graph.sources for at in node.endpoints]
        opened = [(node, place(at), at.source(self.site)) for node, at in sources]
        self.outboxes.make()
        self.holding = self.graph.order != "none" and self.outboxes.unordered
        await together(
            self.opening.patiently("store", self._open_store),
            *(self.opening.patiently(f"model {ref}", partial(self._load_model, ref)) for ref in self.graph.models),
            *(
                self.opening.patiently(where, partial(box.sink.open, box.settled))
                for where, box in self.outboxes.items()
            ),
        )
        await self.opening.patiently("dead letters", self.letters.open)
        for name, opener in self.graph.resources.items():
            self.resources[name] = await self._exits.enter_async_context(opener())
        self.lanes = [Lane(self, node) for node in self.graph.sources]
        by_node = {lane.source.id: lane for lane in self.lanes}
        for lane in self.lanes:
            self.workers += [asyncio.ensure_future(work) for work in lane.workers()]
        # The far side of a through first: a stream that nobody has subscribed to yet keeps only its newest entries.
        for far in (True, False):
            due = (one for one in opened if (one[0].forward is not None) == far)
            await together(*(self._read(by_node[node.id], where, source) for node, where, source in due))
        self._adopt()
        self.lingering.begin()
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
        self.gate.open()
        draining = asyncio.ensure_future(self.drained())
        await asyncio.wait([draining], timeout=grace)
        if not draining.done():
            count, where = sum(lane.in_flight for lane in self.lanes), self.lingering.standing()
            log.warning("%d events did not finish in %.0f s%s: they come again", count, grace, where and f" ({where})")
        elif not draining.cancelled() and draining.exception() is not None:
            # What ends a source or a slot is for `run` to raise.
            log.debug("nothing is waited for: %s", draining.exception())
        tasks = [draining, *self.workers, *self.pumps, *self._work]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
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
        self.assurance.close()
        self.lingering.close()
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
        await self.assurance.begin()
        if isinstance(self.store, Reconnecting):
            self.store.watch(lambda: self.spawn(self.assurance.again()))
        if self.graph.updating:
            self.generation = await generation(self.store, self.site.group)
        await compare(self.store, self.site.group, self.graph, self.generation)
        if self.graph.updating:
            self.watermarks = Watermarks(self.store, watermarks_key(self.site.group, self.generation))
            await self.watermarks.open()

    async def _load_model(self, ref: str) -> None:
        assert self._load is not None, f"nothing loads models, and the pipeline asks for {ref}"
        self.models[ref] = await self._load(ref)

    # -- what lanes and trouble need -----------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the slots: a retry, a dead letter. Only failures pay for a task."""
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._spawned)

    def _spawned(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a failure could not be dealt with", exc_info=task.exception())

    def wake(self) -> None:
        """Something that kept events from starting is over."""
        self.gate.wake()

    def running(self) -> list[asyncio.Task[None]]:
        """What runs events now: slots, and what goes on beside them."""
        return [*self.workers, *self._work]

    @property
    def busy(self) -> bool:
        """Whether anything is running now, rather than waiting for a moment or for the outside."""
        return bool(self._work) or any(not box.idle for box in self.outboxes.values())

    def names(self, lane: Lane) -> dict[str, Any]:
        """Everything the written functions of a lane call, under the names they use."""
        return Binding(self).names(lane)

    def problems(self) -> list[str]:
        """What keeps the pipeline from being ready, one line each; empty when it is."""
        return problems(self)

    def statistics(self) -> dict[str, Mapping[str, float]]:
        """The engine's counts, by metric and name."""
        return statistics(self)
