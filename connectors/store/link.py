"""One socket to a Redis server: requests go out in order, and replies are matched to them in the same order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from penstock.connectors.store.reply import ReplyError, failure
from penstock.errors import PenstockError, Unavailable

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

MORE = object()
"""What the parser returns while a reply is still incomplete."""


class Ask:
    """Commands of one caller, in one piece, and the future of their replies.

    - `count`: how many commands `packed` holds, and so how many replies there will be.
    - `again`: it may be sent again when its replies were lost (it reads, or writing twice is writing once).
    - `forgive`: an error code for which None takes the reply's place; every other error fails the whole.
    """

    __slots__ = ("again", "count", "forgive", "future", "packed", "replies", "sent")

    def __init__(self, packed: bytes, count: int, future: asyncio.Future[list[Any]], again: bool, forgive: str) -> None:
        self.packed = packed
        self.count = count
        self.future = future
        self.again = again
        self.forgive = forgive
        self.replies: list[Any] = []
        self.sent = 0

    def fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Link(asyncio.Protocol):
    """An open socket. Replies are parsed by hiredis as the bytes arrive, with no task in between.

    `lost` is called once when the socket has closed, whoever closed it.
    """

    def __init__(self, name: str, lost: Callable[[Link, str], None]) -> None:
        import hiredis

        self.name = name
        self.asks: deque[Ask] = deque()
        self.answered = 0
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lost = lost
        self._failed = False
        self._push = hiredis.PushNotification
        self._reader = hiredis.Reader(notEnoughData=MORE, replyError=self._error)
        self._transport: asyncio.Transport | None = None
        self._client: AbstractConnection | None = None
        self._first: asyncio.BaseProtocol | None = None

    def take(self, client: AbstractConnection) -> None:
        """Take over the socket of a redis-py connection that has greeted the server and logged in.

        The connection object is kept, for it closes the socket when it is collected. Raises `Unavailable` where the
        socket has closed meanwhile.
        """
        writer = client._writer
        if writer is None or writer.transport.is_closing():
            raise Unavailable(self.name, "the server closed the connection")
        transport = cast(asyncio.Transport, writer.transport)
        self._client, self._transport, self._first = client, transport, transport.get_protocol()
        transport.set_protocol(self)

    def send(self, asks: Sequence[Ask]) -> None:
        """Write these requests at once."""
        assert self._transport is not None
        self.asks.extend(asks)
        for ask in asks:
            ask.sent += 1
        self._transport.write(asks[0].packed if len(asks) == 1 else b"".join([ask.packed for ask in asks]))

    def abort(self) -> None:
        """Close the socket now. `lost` follows."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse what came, and answer every request whose replies are complete."""
        reader, asks, push = self._reader, self.asks, self._push
        gets = reader.gets
        reader.feed(data)
        while asks:
            ask = asks[0]
            missing = ask.count - len(ask.replies)
            new = list(islice(iter(gets, MORE), missing))
            complete = len(new) == missing
            if push in map(type, new):
                new = self._without_pushes(new)
            ask.replies += new
            if not complete:
                return
            if len(ask.replies) < ask.count:
                continue
            asks.popleft()
            self.answered += ask.count
            future = ask.future
            if self._failed:
                self._answer_failed(ask)
            elif not future.done():
                future.set_result(ask.replies)
        if self._without_pushes(list(iter(gets, MORE))):
            # A reply that nobody asked for: from here on every answer would go to the wrong caller.
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner, and redis-py's own stream, so that both know it is closed."""
        if self._first is not None and self._client is not None:
            self._first.connection_lost(None)
            cast(Any, self._client)._close()
        self._lost(self, str(exc) if exc is not None else "it was closed")
        self.closed.set_result(None)

    def eof_received(self) -> bool:
        """The server closed its side: so is ours."""
        return False

    def _error(self, text: str) -> PenstockError:
        # Noted here, so that replies need not be searched for errors.
        self._failed = True
        return failure(self.name, text)

    def _answer_failed(self, ask: Ask) -> None:
        self._failed = False
        for at, reply in enumerate(ask.replies):
            if isinstance(reply, ReplyError) and reply.code == ask.forgive:
                ask.replies[at] = None
        error = next((reply for reply in ask.replies if isinstance(reply, PenstockError)), None)
        if error is not None:
            ask.fail(error)
        elif not ask.future.done():
            ask.future.set_result(ask.replies)

    def _without_pushes(self, replies: list[Any]) -> list[Any]:
        # What the server says unasked (RESP3) answers nobody.
        return [reply for reply in replies if type(reply) is not self._push]
