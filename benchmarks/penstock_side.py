"""The one place that runs pipelines: in this process on topics in memory, or as the service that `penstock run` is."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from time import perf_counter, process_time
from types import TracebackType
from typing import Any

from penstock.connectors import Settings, Site, Store
from penstock.connectors.store.memory import MemoryStore
from penstock.connectors.store.redis import RedisStore
from penstock.connectors.topics import Topic, Topics
from penstock.pipeline.declaration.pipeline import Pipeline
from penstock.pipeline.engine.engine import Engine
from penstock.pipeline.engine.predictors import Predictors
from penstock.pipeline.serving.run import Service, collect_seldom, serve

PATIENCE = 120.0
"""Seconds without an end after which a turn has failed."""

LOOK = 0.005
"""Seconds between looks whether everything is finished, each of which costs what is measured some microseconds."""

DECLARED = {"PENSTOCK_DURABILITY": "memory"}
"""Whatever the store that is measured on does: no benchmark has a letter to lose."""


class Running(AbstractAsyncContextManager["Running"]):
    """A pipeline at work in this event loop: the real engine, on `Memory` topics and the store that is given.

    Leaving it drains and closes the engine.
    """

    def __init__(self, pipeline: Pipeline, variables: Mapping[str, str] | None = None) -> None:
        graph = pipeline.build()
        settings = Settings({**DECLARED, **(variables or {})})
        site = Site(settings, pipeline=graph.name)
        store: Store = RedisStore(site) if settings.has("PENSTOCK_STORE") else MemoryStore()
        self.thresholds = gc.get_threshold()
        self.topics = Topics.of(site)
        self.engine = Engine(graph, site, store, models=Predictors(settings).load)

    async def __aenter__(self) -> Running:
        await self.engine.start()
        collect_seldom()  # as a service does when it is ready
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.engine.stop()
        gc.set_threshold(*self.thresholds)  # a reference in this process has the interpreter's own

    def topic(self, name: str) -> Topic:
        """A topic by name; so that it may be filled before the pipeline starts, and read after."""
        return self.topics.topic(name)

    async def finished(self, count: int) -> None:
        """Wait until `count` events came in, and each has ended and was confirmed."""
        limit = perf_counter() + PATIENCE
        while sum(lane.received for lane in self.engine.lanes) < count or self._unfinished():
            for task in (*self.engine.pumps, *self.engine.workers):
                if task.done():
                    task.result()
            if perf_counter() > limit:
                raise TimeoutError(f"not all of {count:,} events finished within {PATIENCE:.0f} s")
            await asyncio.sleep(LOOK)
        dead = self.engine.letters.written
        if dead:
            raise RuntimeError(f"{dead:,} of {count:,} events became dead letters: what was measured is not the work")

    def _unfinished(self) -> bool:
        return any(lane.in_flight for lane in self.engine.lanes)


@dataclass(frozen=True)
class Turn:
    """What one turn took: seconds by the clock, seconds of this process's processor; and what came out of it."""

    events: int
    seconds: float
    processor: float
    actions: int = 0

    @property
    def rate(self) -> float:
        return self.events / self.seconds


async def drain(
    pipeline: Pipeline,
    source: str,
    values: Sequence[Any],
    *,
    keys: Sequence[bytes | None] | None = None,
    sink: str = "",
    variables: Mapping[str, str] | None = None,
    ready: Callable[[], None] = lambda: None,
) -> Turn:
    """Time a pipeline over events that wait in the memory topic `source` when the clock starts.

    The clock starts when the engine is open, and stops when every event is confirmed: actions included.
    """
    async with Running(pipeline, variables) as running:
        ready()
        began, busy = perf_counter(), process_time()
        running.topic(source).extend(values, keys=keys)
        await running.finished(len(values))
        took, used = perf_counter() - began, process_time() - busy
        return Turn(len(values), took, used, len(running.topic(sink)) if sink else 0)


async def service(pipeline: Pipeline, variables: Mapping[str, str], ready: Callable[[], None]) -> None:
    """Run a pipeline against real servers until a signal ends it, as `penstock run` does; `ready` is called once."""
    settings = Settings({**DECLARED, "PENSTOCK_ADMIN_LISTEN": "127.0.0.1:0", **variables})
    running = Service([pipeline.build()], settings)

    async def tell() -> None:
        await running.ready.wait()
        ready()

    telling = asyncio.ensure_future(tell())
    try:
        await serve(running)
    finally:
        telling.cancel()
