"""Scripted endpoints and helpers, for what a test wants to happen at a moment of its choosing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.connectors import Endpoint, Message, Settings, Settled, Sink, Site, Source, Store
from penstock.connectors.memory import Memory
from penstock.connectors.store.memory import MemoryStore
from penstock.connectors.topics import Topic, Topics
from penstock.pipeline import Pipeline
from penstock.pipeline.engine.engine import Engine
from penstock.stages.helper import Failure


class ScriptedSink:
    """A sink whose answers the test gives: `answers` takes messages and returns what to report, or None to wait."""

    problem: str | None = None

    def __init__(self, answer: Callable[[Message], BaseException | str | None], ordered: bool) -> None:
        self.answer = answer
        self.ordered = ordered
        self.taken: list[Message] = []
        self.waiting: list[Message] = []
        self._settled: Settled | None = None

    async def open(self, settled: Settled) -> None:
        self._settled = settled

    def send(self, messages: Sequence[Message]) -> None:
        self.taken += messages
        for message in messages:
            found = self.answer(message)
            if found == "wait":
                self.waiting.append(message)
            else:
                assert not isinstance(found, str)
                asyncio.get_running_loop().call_soon(self.report, [message], found)

    def report(self, messages: Sequence[Message], error: BaseException | None = None) -> None:
        assert self._settled is not None
        self._settled(messages, error)

    def release(self) -> None:
        waiting, self.waiting = self.waiting, []
        self.report(waiting)

    async def flush(self) -> None:
        """Whatever waits is the test's to release."""

    async def close(self) -> None:
        """Nothing to leave."""


@dataclass(frozen=True)
class Scripted:
    """An endpoint of which the test holds the sink."""

    name: str
    opened: ScriptedSink

    @property
    def address(self) -> str:
        return f"scripted:{self.name}"

    def source(self, site: Site) -> Source:
        raise AssertionError("a scripted endpoint is a sink")

    def sink(self, site: Site) -> Sink:
        return self.opened


def scripted(
    name: str = "out",
    answer: Callable[[Message], BaseException | str | None] = lambda message: None,
    *,
    ordered: bool = True,
) -> tuple[Endpoint, ScriptedSink]:
    """An endpoint and the sink behind it."""
    sink = ScriptedSink(answer, ordered)
    return Scripted(name, sink), sink


@dataclass(frozen=True)
class Asking:
    """An enrich helper that answers through the test's function."""

    answers: Callable[[Any], Any]
    answer: Any = Any
    fields: tuple[str, ...] = ()

    def open(self, store: Store) -> Asking:
        return self

    def question(self, payload: Any) -> Any:
        return payload

    async def ask(self, question: Any) -> Any:
        found = self.answers(question)
        return await found if isinstance(found, Awaitable) else found

    async def ask_many(self, questions: Sequence[Any]) -> list[Any]:
        found = []
        for question in questions:
            try:
                found.append(await self.ask(question))
            except Exception as error:
                found.append(Failure(error))
        return found


@dataclass
class Bench:
    """A pipeline's engine on topics in memory, in real time."""

    engine: Engine
    topics: Topics
    site: Site
    running: list[asyncio.Task[None]] = field(default_factory=list)

    def topic(self, name: str) -> Topic:
        return self.topics.topic(name)

    def confirmed(self, name: str) -> int:
        return sum(self.topic(name).position(self.site.group))

    async def until(self, done: Callable[[], bool], patience: float = 60.0) -> None:
        """Wait for a condition; the sources confirm meanwhile as their timers would."""
        async with asyncio.timeout(patience):
            while not done():
                await asyncio.sleep(0.001)
                for _, source in self.engine.sources.values():
                    await source.confirm()

    async def __aenter__(self) -> Bench:
        await self.engine.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.engine.stop(grace=5.0)


def bench(pipeline: Pipeline, *, store: Store | None = None, models: Any = None) -> Bench:
    """The engine of a pipeline whose endpoints are `Memory` or `Scripted`."""
    site = Site(Settings({}), pipeline=pipeline.name)
    engine = Engine(pipeline.build(), site, store or MemoryStore(), models=models)
    return Bench(engine, Topics.of(site), site)


__all__ = ["Asking", "Bench", "Memory", "Scripted", "ScriptedSink", "bench", "scripted"]
