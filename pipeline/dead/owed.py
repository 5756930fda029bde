"""Endpoints of a replay: letters in the place of a source, and in front of each sink what lets through what is owed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from penstock.connectors import Batch, Endpoint, Message, Settled, Sink, Site, Source
from penstock.pipeline.letters.again import LetterBatch
from penstock.pipeline.letters.letters import Letter
from penstock.pipeline.letters.scope import Scope
from penstock.pipeline.place import place


class Run(Protocol):
    """What letters need of the replay that they belong to."""

    scope: Scope

    async def begin(self) -> None: ...
    async def some(self, waiting: deque[Letter]) -> list[LetterBatch]: ...
    async def settle(self) -> None: ...
    async def end(self) -> None: ...
    def stop(self) -> None: ...


@dataclass(frozen=True, eq=False)
class Redirected:
    """An endpoint in the place of a declared one: its source brings letters, its sink sends what is still owed."""

    address: str
    endpoint: Endpoint
    replay: Run
    waiting: deque[Letter]
    on: str
    method: str

    def source(self, site: Site) -> Source:
        return LetterSource(self.replay, self.waiting)

    def sink(self, site: Site) -> Sink:
        return OwedSink(self.endpoint.sink(site), place(self.endpoint), self.replay.scope)


class LetterSource:
    """Brings letters in. They are confirmed by being taken out of the store."""

    problem: str | None = None

    def __init__(self, replay: Run, waiting: deque[Letter]) -> None:
        self.replay = replay
        self.waiting = waiting

    async def open(self) -> None:
        """Nothing to connect to: the letters are here. Raises `PenstockError` where they are being replayed already."""
        await self.replay.begin()

    async def receive(self) -> Sequence[Batch]:
        return await self.replay.some(self.waiting)

    def stop(self) -> None:
        self.replay.stop()

    async def confirm(self) -> None:
        await self.replay.settle()

    async def close(self) -> None:
        self.stop()
        await self.replay.end()

    def lag(self) -> int | None:
        return len(self.waiting)


class OwedSink:
    """A sink that is handed only what a letter's event still owes; the rest counts as confirmed."""

    def __init__(self, sink: Sink, where: str, scope: Scope) -> None:
        self.sink = sink
        self.ordered = sink.ordered
        self.where = where
        self.scope = scope
        self._settled: Settled

    @property
    def problem(self) -> str | None:
        return self.sink.problem

    async def open(self, settled: Settled) -> None:
        self._settled = settled
        await self.sink.open(self._report)

    def send(self, messages: Sequence[Message]) -> None:
        owed = [message for message in messages if self.owes(message)]
        if len(owed) < len(messages):
            spared = [message for message in messages if message not in owed]
            asyncio.get_running_loop().call_soon(self._settled, spared, None)
        if owed:
            self.sink.send(owed)

    def owes(self, message: Message) -> bool:
        """Whether this is still owed to its letter's event."""
        return self.scope.due(message.batch.letter, message, self.where)

    def _report(self, messages: Sequence[Message], error: BaseException | None) -> None:
        if error is None:
            for message in messages:
                message.batch.sent.append(message.id)
        self._settled(messages, error)

    async def flush(self) -> None:
        await self.sink.flush()

    async def close(self) -> None:
        await self.sink.close()
