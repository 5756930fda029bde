"""What stands for the outside in a harness: endpoints, models and dead letters in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from penstock.connectors import Batch, Event, Message, Partition, Settled, Site, Store
from penstock.models.prediction import Prediction
from penstock.pipeline.letters.letters import Letter, Letters


class Record(Batch):
    """A batch of one event that a test sent, or that went through a topic.

    `number` is its place, where the endpoint has positions; `onward` holds what it became on the other side.
    """

    __slots__ = ("described", "number", "onward")

    def __init__(
        self,
        described: Event,
        value: Any,
        key: str,
        captures: dict[str, str] | None,
        waited: bool,
        now: float,
        number: int | None,
    ) -> None:
        super().__init__(
            Partition(described.topic),
            [value],
            keys=[key or None],
            captures=None if captures is None else [captures],
            waited=waited,
            received=now,
        )
        self.described = described
        self.number = number
        self.onward: list[Record] = []

    def all(self) -> Iterator[Record]:
        """This one, and all that it became."""
        yield self
        for one in self.onward:
            yield from one.all()

    def event(self, index: int) -> Event:
        return self.described

    def origin(self, index: int) -> str:
        return "" if self.number is None else str(self.partition)

    def place(self, index: int) -> str:
        return "" if self.number is None else f"{self.number:019d}"


class Inlet:
    """A source that tests put events into."""

    problem: str | None = None

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[Batch | None] = asyncio.Queue()

    async def open(self) -> None:
        """Nothing to connect to."""

    async def receive(self) -> Sequence[Batch]:
        batch = await self._waiting.get()
        return [] if batch is None else [batch]

    def put(self, batch: Batch) -> None:
        self._waiting.put_nowait(batch)

    def stop(self) -> None:
        self._waiting.put_nowait(None)

    async def confirm(self) -> None:
        """Nobody asks."""

    async def close(self) -> None:
        self.stop()

    def lag(self) -> int | None:
        return self._waiting.qsize()


class Outlet:
    """A sink that keeps what it was given."""

    problem: str | None = None
    ordered = True

    def __init__(self, kept: list[Message]) -> None:
        self.kept = kept
        self._settled: Settled | None = None

    async def open(self, settled: Settled) -> None:
        self._settled = settled

    def send(self, messages: Sequence[Message]) -> None:
        assert self._settled is not None
        self.kept += messages
        asyncio.get_running_loop().call_soon(self._settled, list(messages), None)

    async def flush(self) -> None:
        await asyncio.sleep(0)

    async def close(self) -> None:
        """Nothing to leave."""


@dataclass(frozen=True)
class Stand:
    """The endpoint in memory that stands for a declared one."""

    address: str
    inlet: Inlet
    outlet: Outlet
    on: str = ""

    def source(self, site: Site) -> Inlet:
        return self.inlet

    def sink(self, site: Site) -> Outlet:
        return self.outlet


class Loop(Outlet):
    """A sink whose messages come in again: the topic of a through."""

    def __init__(self, inlet: Inlet, now: Callable[[], float]) -> None:
        super().__init__([])
        self.inlet = inlet
        self.now = now

    def send(self, messages: Sequence[Message]) -> None:
        for number, message in enumerate(messages, len(self.kept)):
            headers = {name.removeprefix("ce_"): value for name, value in (message.headers or {}).items()}
            key = (message.key or b"").decode()
            event = Event(
                message.id,
                message.source,
                message.type,
                message.subject,
                message.time,
                key,
                message.to,
                headers,
                message.value,
            )
            record = Record(event, message.value, key, None, False, self.now(), number)
            message.batch.onward.append(record)
            self.inlet.put(record)
        super().send(messages)


class Answers:
    """A model made of a test's own function or constant."""

    def __init__(self, answer: Any, ref: str) -> None:
        self.answer = answer
        self.name, _, self.version = ref.partition("@")

    async def predict(self, row: Any) -> Prediction:
        found: Any = self.answer(row) if callable(self.answer) else self.answer
        if isinstance(found, Prediction):
            return found
        if isinstance(found, str):
            return Prediction(0.0, found, {}, self.name, self.version)
        return Prediction(float(found), "", {}, self.name, self.version)

    async def predict_many(self, rows: Sequence[Any]) -> list[Prediction | BaseException]:
        return list(await asyncio.gather(*(self.predict(row) for row in rows), return_exceptions=True))


class KeptLetters(Letters):
    """Dead letters that a test can look at without waiting."""

    def __init__(self, store: Store, pipeline: str) -> None:
        super().__init__(store, pipeline)
        self.kept: list[Letter] = []

    async def write(self, letter: Letter, batch: Batch | None = None) -> Letter:
        kept = await super().write(letter, batch)
        self.kept.append(kept)
        return kept
