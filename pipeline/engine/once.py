"""`act(..., once=True)`: an action is kept in the store before it is sent, and sent again as it was kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol, runtime_checkable

import msgspec

from penstock.connectors import Message, Store
from penstock.connectors.store.reply import ReplyError
from penstock.errors import Unavailable, Undeliverable
from penstock.pipeline.engine.outages import Outages
from penstock.pipeline.engine.outbox import Outbox
from penstock.pipeline.letters.again import LetterBatch

KEY = "penstock:{pipeline}:once:{to}:{id}"

Kept = tuple[str, bytes | None, bytes | None, dict[str, str], str, str, float]
"""What is kept of an action: target, value, key, headers, type, subject, time."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Kept).decode


class Host(Protocol):
    """What keeping needs of the engine."""

    store: Store
    outages: Outages

    def spawn(self, work: Coroutine[Any, Any, None]) -> None: ...


@runtime_checkable
class Owing(Protocol):
    """A sink of a replay, which knows what a letter's event still owes."""

    def owes(self, message: Message) -> bool: ...


class Keeping(Outbox):
    """An outbox for acts that declare `once`.

    What gathers while the store is asked is the next question, so that one is under way at a time, and messages leave
    in the order in which they were pushed: also those of other acts to the same sink, which are not kept. In an outage
    of the store they wait.
    """

    def __init__(self, *given: Any, host: Host, pipeline: str, stages: Mapping[str, float], **names: Any) -> None:
        super().__init__(*given, **names)
        self.host = host
        self.pipeline = pipeline
        self.stages = stages
        self.repeated = 0
        self._queue: list[Message] = []
        self._asking = False

    def flush(self) -> None:
        """Have what has gathered kept, and then handed over."""
        messages, self._buffer = self._buffer, []
        self.unsettled += len(messages)
        self._queue += messages
        if self._queue and not self._asking:
            self._asking = True
            self.host.spawn(self._keep())

    async def _keep(self) -> None:
        try:
            while self._queue:
                messages, self._queue = self._queue, []
                kept = await self._kept([one for one in messages if one.stage in self.stages])
                refused = {id(message) for message, error in kept if error is not None}
                self.hand_over([one for one in messages if id(one) not in refused])
                for message, error in kept:
                    if error is not None:
                        self.settled([message], error)
        finally:
            self._asking = False

    async def _kept(self, messages: list[Message]) -> list[tuple[Message, BaseException | None]]:
        """Make each message what was kept of it first. Those that the store cannot keep, with the reason."""
        if not messages:
            return []
        wanted = [(self._key(one), _encode(_said(one)), self.stages[one.stage]) for one in messages]
        anew = [one for one, message in zip(wanted, messages, strict=True) if self._edited(message)]
        try:
            if anew:
                await self._patiently(lambda: self.host.store.write_many(anew))
            found = await self._patiently(lambda: self.host.store.settle_many(wanted))
        except ReplyError as error:
            if len(messages) == 1:
                return [(messages[0], Undeliverable(f"{messages[0].id} cannot be kept: {error}"))]
            return [each for one in messages for each in await self._kept([one])]
        for message, (_, own, _), first in zip(messages, wanted, found, strict=True):
            if first is not None and first != own:
                _restore(message, first)
                self.repeated += 1
        return []

    async def _patiently(self, ask: Callable[[], Any]) -> Any:
        """The store's answer, however long an outage lasts."""
        outage: Unavailable | None = None
        while True:
            try:
                answer = await ask()
            except Unavailable as error:
                outage = error
                back: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self.host.outages.hold(error.dependency, error, lambda back=back: back.done() or back.set_result(None))  # type: ignore[misc]
                await back
            else:
                if outage is not None:
                    self.host.outages.clear(outage.dependency)
                return answer

    def _edited(self, message: Message) -> bool:
        """Whether it is decided from an edited letter, and was never sent: what was kept of it is void."""
        batch = message.batch
        edited = isinstance(batch, LetterBatch) and batch.letter.edited is not None
        return edited and isinstance(self.sink, Owing) and self.sink.owes(message)

    def _key(self, message: Message) -> str:
        return KEY.format(pipeline=self.pipeline, to=self.address, id=message.id)


def _said(message: Message) -> Kept:
    headers = dict(message.headers or {})
    return message.to, message.value, message.key, headers, message.type, message.subject, message.time


def _restore(message: Message, kept: bytes) -> None:
    """Make a message what it was when it was first decided."""
    message.to, message.value, message.key, message.headers, message.type, message.subject, message.time = _decode(kept)
