"""Running pipelines: from graphs and settings to a process that serves, drains and leaves."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from penstock.connectors import Batch, Endpoint, Settings, Site
from penstock.errors import PenstockError, Unavailable
from penstock.pipeline.engine.confinement import Confinement
from penstock.pipeline.engine.engine import Engine
from penstock.pipeline.engine.predictors import Predictors
from penstock.pipeline.graph import Graph
from penstock.pipeline.letters.register import enter
from penstock.pipeline.serving.admin import Admin, View
from penstock.pipeline.serving.exposition import page

log = logging.getLogger("penstock")

GRACE = 25.0
"""Seconds that events in flight get to finish after the first signal."""

LETTERS = 0.25
"""Seconds that the metrics wait for the number of dead letters; they tell the last one known where it takes longer."""

OPENING = 5.0
"""Seconds at the start in which no garbage is collected."""

YOUNG = 10_000
"""New objects after which the garbage collector looks at them: more than the events in flight are made of."""

T = TypeVar("T")


def unchanged(endpoint: Endpoint) -> Endpoint:
    """Every endpoint as it was declared."""
    return endpoint


class Service:
    """Pipelines that share a process: one engine each, one admin port, one end.

    - `worker`: this process's number among those that serve the same pipelines.
    - `endpoint`: puts another endpoint in the place of a declared one.
    - `confinement`: a worker's, whose parent wants to know what ends it.

    Making one raises `ConfigError` where an address is missing.
    """

    def __init__(
        self,
        graphs: Sequence[Graph],
        settings: Settings,
        *,
        worker: int = 0,
        endpoint: Callable[[Endpoint], Endpoint] = unchanged,
        confinement: Confinement | None = None,
    ) -> None:
        from penstock.connectors.store.redis import RedisStore

        predictors = Predictors(settings)
        self.site = Site(settings, worker=worker)
        self.engines: list[Engine] = []
        for graph in graphs:
            site = Site(settings, pipeline=graph.name, worker=worker, process=self.site)
            store = RedisStore(site)
            engine = Engine(graph, site, store, models=predictors.load, endpoint=endpoint, confinement=confinement)
            self.engines.append(engine)
        if confinement is not None:
            confinement.opened = self._open
        self.admin = Admin(View(self.problems, self.metrics), settings.process.admin_listen)
        self.ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._began = time.monotonic()

    async def run(self) -> None:
        """Open everything, serve until `stop` is called or every source has ended, drain, close.

        Raises what a pipeline could not begin or go on for, after everything was closed.
        """
        lives = [asyncio.ensure_future(self._live(engine)) for engine in self.engines]
        stopping = asyncio.ensure_future(self._stopping.wait())
        # What is imported to open everything stays: looking through it for garbage again and again takes a tenth of the
        # start. Not for longer than that, for what waits for a server makes garbage.
        gc.disable()
        collecting = asyncio.get_running_loop().call_later(OPENING, gc.enable)
        try:
            await self.admin.open()
            await _until_over(lives, stopping)
        finally:
            collecting.cancel()
            gc.enable()
            tasks: list[asyncio.Future[Any]] = [*lives, stopping]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*(engine.stop(GRACE) for engine in self.engines))
            await self.site.close()
            await self.admin.close()
        for life in lives:
            if not life.cancelled():
                life.result()

    def stop(self) -> None:
        """Take nothing new, finish what is in flight, end. From the second call on, end at once."""
        if self._stopping.is_set():
            log.warning("ended at once: what was in flight comes again at the next start")
            os._exit(1)
        log.info("stopping: finishing what is in flight (a second signal ends at once)")
        self._stopping.set()

    async def problems(self) -> list[str]:
        """What keeps the process from being ready, one line each."""
        several = len(self.engines) > 1
        return [
            f"{engine.graph.name}: {problem}" if several else problem
            for engine in self.engines
            for problem in engine.problems()
        ]

    async def metrics(self) -> bytes:
        """The metrics of all pipelines and of the process."""
        from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

        # A store that does not answer must not keep the rest from being told.
        with contextlib.suppress(TimeoutError, PenstockError):
            async with asyncio.timeout(LETTERS):
                await asyncio.gather(*(engine.letters.measure() for engine in self.engines if engine.ready))
        process = CollectorRegistry()
        ProcessCollector(registry=process)
        GCCollector(registry=process)
        registries = [process, *(engine.metrics.registry for engine in self.engines)]
        return page(family for registry in registries for family in registry.collect())

    def _open(self) -> list[Batch]:
        return [batch for engine in self.engines for lane in engine.lanes for batch in lane.open]

    async def _live(self, engine: Engine) -> None:
        await engine.start()
        self._begun()
        with contextlib.suppress(Unavailable):
            await enter(engine.store, engine.site.group)
        await engine.run()

    def _begun(self) -> None:
        """One more engine is ready: when all are, the process is."""
        if not all(engine.ready for engine in self.engines):
            return
        for engine in self.engines:
            sources = ", ".join(engine.sources)
            log.info("%s is ready after %.2f s: reads %s", engine.graph.name, time.monotonic() - self._began, sources)
        collect_seldom()
        self.ready.set()


def collect_seldom() -> None:
    """Have the garbage collector leave alone what is here now, and what the events in flight are made of.

    What is here stays until the end: a full collection that walks it would stop every event for 50 ms. What an event
    is made of goes with the event: collections every 700 objects found nothing, and were a twentieth of all work.
    """
    gc.freeze()
    young, *older = gc.get_threshold()
    if young:
        gc.set_threshold(max(young, YOUNG), *older)
    gc.enable()


async def _until_over(lives: Sequence[asyncio.Future[None]], stopping: asyncio.Future[Any]) -> None:
    """Until one life has failed, all of them have ended, or `stopping` is done."""
    while not stopping.done():
        living = [life for life in lives if not life.done()]
        if not living or any(life.done() and not life.cancelled() and life.exception() for life in lives):
            return
        await asyncio.wait([*living, stopping], return_when=asyncio.FIRST_COMPLETED)


async def serve(service: Service) -> None:
    """Run a service until a signal ends it."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stop)
    try:
        await service.run()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def on_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a new event loop, uvloop's where it is installed."""
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    with contextlib.suppress(ImportError):
        from uvloop import new_event_loop as factory
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)
