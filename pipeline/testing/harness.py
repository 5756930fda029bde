"""Testing a pipeline: the real engine on endpoints in memory, and a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import Any

import msgspec

from penstock.connectors import Endpoint, Event, Message, Refusal, Settings, Site
from penstock.connectors.duration import D, seconds
from penstock.connectors.store.memory import MemoryStore
from penstock.connectors.template import matcher
from penstock.pipeline.clock import ManualClock
from penstock.pipeline.declaration.pipeline import Pipeline
from penstock.pipeline.engine.engine import Engine, Model
from penstock.pipeline.graph import Forward
from penstock.pipeline.letters.letters import Letter
from penstock.pipeline.place import has_positions, place
from penstock.pipeline.testing.outcome import Outcome, Sent
from penstock.pipeline.testing.shared import guarded
from penstock.pipeline.testing.stands import Answers, Inlet, KeptLetters, Loop, Outlet, Record, Stand
from penstock.pipeline.testing.stubs import stubbed
from penstock.stages.payload import encode

_PATIENCE = 30.0
"""Seconds of real time after which an event that has not finished will not: slow machines take their time."""


class Harness:
    """A pipeline at work inside a test. Made by `harness`."""

    def __init__(
        self,
        pipeline: Pipeline,
        store: Mapping[str, Any],
        models: Mapping[str, Any],
        stub: Mapping[Callable[..., Any], Callable[..., Any]],
        start: datetime | float,
    ) -> None:
        self.clock = ManualClock(start.timestamp() if isinstance(start, datetime) else start)
        self.graph = guarded(stubbed(pipeline.build(), stub))
        self.store = MemoryStore(self.clock.time)
        self.messages: list[Message] = []
        self._stands: dict[str, Stand] = {}
        self._forwards = {node.stage: place(node.to[0]) for node in self.graph if isinstance(node, Forward)}
        self._models = models
        self._known = dict(store)
        site = Site(Settings({}), pipeline=self.graph.name)
        self.engine = Engine(self.graph, site, self.store, models=self._model, clock=self.clock, endpoint=self._stand)
        self.engine.spilling = False  # what waits for the clock waits where the test can see it
        self.engine.letters = self._letters = KeptLetters(self.store, site.group)
        self._count = 0

    async def __aenter__(self) -> Harness:
        for key, value in self._known.items():
            await self.put(key, value)
        await self.engine.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.engine.stop(grace=0.0 if self._parked else 1.0)

    async def put(self, key: str, value: Any) -> None:
        """Put something into the store: a Struct, dataclass or dict as a hash; bytes or text as a plain value."""
        if isinstance(value, bytes | str):
            await self.store.write(key, value.encode() if isinstance(value, str) else value)
        else:
            found = msgspec.to_builtins(value)
            await self.store.write_hash(key, {name: _plain(one) for name, one in found.items() if one is not None})

    async def send(
        self,
        payload: Any,
        *,
        to: Endpoint | None = None,
        key: str = "",
        id: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Send one event in, and wait until it is finished or waits for the clock.

        `payload` is an object of the schema, or bytes as they would come over the wire. `to` is a declared endpoint,
        or one whose braces are filled in; it can be left out where the pipeline has one source.
        """
        stand, endpoint, captures = self._inlet(to)
        self._count += 1
        value = payload if isinstance(payload, bytes) or payload is None else encode(payload)
        topic = (to or endpoint).address.partition(":")[2]
        described = Event(
            id or f"{topic}/{self._count}", f"/{topic}", key=key, topic=topic, headers=headers or {}, data=value
        )
        waited = endpoint.address.startswith("http:") and not getattr(endpoint, "durable", False)
        number = self._count if has_positions(endpoint) else None
        batch = Record(described, value, key, captures, waited, self.clock.monotonic(), number)
        stand.inlet.put(batch)
        await self._until(lambda: all(one.left == 0 or (one.taken == 1 and self._parked) for one in batch.all()))
        return self._outcome(batch)

    async def advance(self, delay: D) -> None:
        """Move the clock; what becomes due runs to its end, each at its own moment."""
        end = self.clock.time() + seconds(delay)
        while True:
            due = self.clock.next_due()
            step = end if due is None or due > end else due
            self.clock.advance(step - self.clock.time())
            await self._settle()
            if step >= end:
                return

    def sent(self, to: Endpoint) -> list[Sent]:
        """Everything that went to an endpoint, in order."""
        stand = self._stands.get(place(to))
        return [Sent.of(message) for message in (stand.outlet.kept if stand else ())]

    def actions(self, stage: Callable[..., Any] | str) -> list[Any]:
        """The data of everything that one act stage decided, in order."""
        name = stage if isinstance(stage, str) else getattr(stage, "__name__", "")
        return [Sent.of(message).data for message in self._all() if message.stage == name]

    @property
    def dead(self) -> list[Letter]:
        """Every dead letter so far, in order."""
        return list(self._letters.kept)

    # -- inside --------------------------------------------------------------------------------------------------

    @property
    def _parked(self) -> bool:
        """Whether something in trouble waits for the clock and nothing else moves."""
        lanes = self.engine.lanes
        return (
            any(lane.trouble.flights for lane in lanes) and all(lane.quiet for lane in lanes) and not self.engine.busy
        )

    def _all(self) -> list[Message]:
        return [message for stand in self._stands.values() for message in stand.outlet.kept]

    def _stand(self, endpoint: Endpoint) -> Endpoint:
        if endpoint.address == "reply":
            return endpoint
        where = place(endpoint)
        if where not in self._stands:
            inlet = Inlet()
            outlet = Loop(inlet, self.clock.monotonic) if where in self._forwards.values() else Outlet([])
            self._stands[where] = Stand(endpoint.address, inlet, outlet, str(getattr(endpoint, "on", "")))
        return self._stands[where]

    def _inlet(self, to: Endpoint | None) -> tuple[Stand, Endpoint, dict[str, str] | None]:
        declared = [endpoint for node in self.graph.sources for endpoint in node.endpoints]
        if to is None:
            own = [endpoint for endpoint in declared if place(endpoint) not in self._forwards.values()]
            if len(own) > 1:
                names = ", ".join(one.address for one in own)
                raise ValueError(f"the pipeline has several sources: say which with to=, one of {names}")
            return self._stands[place(own[0])], own[0], None
        for endpoint in declared:
            if place(endpoint) == place(to):
                return self._stands[place(endpoint)], endpoint, None
        for endpoint in declared:
            found = matcher(endpoint.address).fullmatch(to.address)
            if found is not None:
                return self._stands[place(endpoint)], endpoint, found.groupdict()
        raise ValueError(
            f"{to.address} is no source of this pipeline; it has {', '.join(one.address for one in declared)}"
        )

    async def _model(self, ref: str) -> Model:
        if ref not in self._models:
            raise ValueError(
                f"the pipeline asks for {ref}: give the harness one, models={{{ref!r}: lambda features: 0.5}}"
            )
        return Answers(self._models[ref], ref), lambda kind: lambda features: features

    async def _until(self, done: Callable[[], bool]) -> None:
        """Let the engine run until `done`. Raises TimeoutError where nothing moves for seconds of real time."""
        loop = asyncio.get_running_loop()
        limit = loop.time() + _PATIENCE
        turns = 0
        while not done():
            turns += 1
            await asyncio.sleep(0 if turns < 1000 else 0.001)
            if loop.time() > limit:
                raise TimeoutError(
                    "the event did not finish: does a stage wait for a time-out? Move the clock with advance()"
                )
            for task in (*self.engine.workers, *self.engine.pumps):
                if task.done() and not task.cancelled() and task.exception() is not None:
                    task.result()

    async def _settle(self) -> None:
        """Let everything run that does not wait for the clock. A slot inside a time-out does: it is not waited for."""
        for _ in range(1000):
            await asyncio.sleep(0)
            if not self.engine.busy and all(lane.quiet for lane in self.engine.lanes):
                return

    def _outcome(self, batch: Record) -> Outcome:
        answer = batch.answers.get(0)
        replies = [Sent.of(message).data for message in answer] if isinstance(answer, list) else []
        became = list(batch.all())
        positions = {one.position(0) for one in became}
        letters = [letter for letter in self.dead if letter.position in positions]
        return Outcome(
            sent=[
                Sent.of(message)
                for message in self._all()
                if message.batch in became and message.stage not in self._forwards
            ],
            reply=None if not replies else replies[0] if len(replies) == 1 else replies,
            refused=answer if isinstance(answer, Refusal) else None,
            dead=letters[-1] if letters else None,
            finished=all(one.left == 0 for one in became),
        )


@asynccontextmanager
async def harness(
    pipeline: Pipeline,
    *,
    store: Mapping[str, Any] | None = None,
    models: Mapping[str, Any] | None = None,
    stub: Mapping[Callable[..., Any], Callable[..., Any]] | None = None,
    start: datetime | float = 1_750_000_000.0,
) -> AsyncIterator[Harness]:
    """Run a pipeline in memory: the real engine, no servers, a clock that only the test moves.

    - `store`: what the store holds at the start, by key.
    - `models`: for each reference the pipeline names, a function of the features, a number or a `Prediction`.
    - `stub`: functions to put in the place of the pipeline's own, for what calls out.
    - `start`: the clock's first moment, as a datetime or seconds since the epoch.

    >>> import asyncio
    >>> from penstock.connectors import Memory
    >>> def shout(text: str) -> str: return text.upper()
    >>> words = Pipeline("words")
    >>> _ = words.source(Memory("in"), schema=str).act(shout, to=Memory("out"))
    >>> async def try_it() -> list[str]:
    ...     async with harness(words) as h:
    ...         return (await h.send("hello")).actions
    >>> asyncio.run(try_it())
    ['HELLO']
    """
    async with Harness(pipeline, store or {}, models or {}, stub or {}, start) as running:
        yield running


def _plain(value: Any) -> bytes | str | int | float:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, bytes | str | int | float) else msgspec.json.encode(value)
