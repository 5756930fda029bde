"""Redis streams as a sink."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Any

from penstock.connectors.event import Message
from penstock.connectors.protocol import Settled
from penstock.connectors.redis.entry import fields, place, stream_key
from penstock.connectors.redis.group import check_partitions
from penstock.connectors.store.command import pack
from penstock.connectors.store.connection import Connection
from penstock.connectors.store.reply import ReplyError
from penstock.connectors.tally import Tally
from penstock.connectors.template import names
from penstock.errors import ConfigError, PenstockError, Unavailable, Undeliverable

MOST = 500
"""Messages in one transaction."""

FULL = 100_000
"""Entries of one partition at which its producers wait."""

PAUSE, LEAVING = 0.1, 10.0
"""Seconds between two tries, and those that leaving waits for what is not written yet."""

_BEGIN, _END = pack("MULTI"), pack("EXEC")


class RedisSink:
    """Appends messages to the streams that they are addressed to.

    One transaction is under way at a time; what is taken meanwhile is the next one. Messages are never settled as
    failed for an outage: they wait, in order, until the server is back, and `problem` says so.
    """

    ordered = True

    def __init__(self, stream: str, partitions: int, connection: Connection, *, full: int = FULL) -> None:
        self._stream = stream
        self._partitions = partitions
        self._connection = connection
        self._full = full
        self._queue: deque[Message] = deque()
        self._tally: Tally | None = None
        self._task: asyncio.Task[None] | None = None
        self._known: set[str] = set()
        # The streams that were full after what was written last: what comes next waits for room, whenever it comes.
        self._crowded: list[str] = []
        self._turn = 0
        self._trouble: str | None = None

    @property
    def problem(self) -> str | None:
        return self._connection.problem or self._trouble

    async def open(self, settled: Settled) -> None:
        await self._connection.open()
        if not names(self._stream):
            await self._check(self._stream)
        self._tally = Tally(settled)

    def send(self, messages: Sequence[Message]) -> None:
        if self._tally is None:
            raise RuntimeError(f"redis:{self._stream}: the sink is not open")
        self._tally.left += len(messages)
        self._queue.extend(messages)
        if self._task is None and self._queue:
            self._task = asyncio.get_running_loop().create_task(self._write())

    async def flush(self) -> None:
        if self._tally is not None:
            await self._tally.flush()

    async def close(self) -> None:
        if self._tally is None:
            return
        try:
            async with asyncio.timeout(LEAVING):
                await self.flush()
        except TimeoutError:
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait([self._task])
            outage = Unavailable(self._connection.name, self.problem or "it was not written before the end")
            self._settle(list(self._queue), [outage] * len(self._queue))
            self._queue.clear()
            await self.flush()
        self._tally = None

    async def _write(self) -> None:
        """Write all that is queued. A message leaves the queue when its outcome is known."""
        try:
            while self._queue:
                try:
                    while self._crowded:
                        await self._wait_for_room(self._crowded[-1])
                        self._crowded.pop()
                    self._crowded = await self._next()
                    self._trouble = None
                except Unavailable as error:
                    self._trouble = error.reason
                    await asyncio.sleep(PAUSE)
        finally:
            self._task = None

    async def _next(self) -> list[str]:
        """Write the next messages, all or none of them, and settle them. The streams that are full."""
        messages = list(islice(self._queue, MOST))
        refused = await self._unknown({message.to for message in messages})
        if refused is not None:
            messages = [message for message in messages if message.to == refused[0]]
            for message in messages:
                self._queue.remove(message)
            self._settle(messages, [refused[1]] * len(messages))
            return []
        keys = [self._key(message) for message in messages]
        touched = list(dict.fromkeys(keys))
        adds = [pack("XADD", key, "*", *fields(message)) for key, message in zip(keys, messages, strict=True)]
        try:
            count = len(adds) + len(touched) + 2
            packed = b"".join([_BEGIN, *adds, *[pack("XLEN", key) for key in touched], _END])
            outcomes = (await self._connection.ask(packed, count))[-1]
        except ReplyError:
            outcomes = [await self._alone(add) for add in adds]
        for _ in messages:
            self._queue.popleft()
        self._settle(messages, outcomes)
        lengths = outcomes[len(messages) :]
        return [key for key, length in zip(touched, lengths, strict=False) if length >= self._full]

    async def _alone(self, add: bytes) -> Any:
        """One message of a transaction that was refused: it may be another one's fault."""
        try:
            return (await self._connection.ask(add))[0]
        except ReplyError as error:
            return error

    async def _unknown(self, streams: set[str]) -> tuple[str, PenstockError] | None:
        """A stream that cannot be written to as declared, and why."""
        for name in streams - self._known:
            try:
                await self._check(name)
            except (ConfigError, ReplyError) as error:
                return name, error
        return None

    async def _check(self, stream: str) -> None:
        await check_partitions(self._connection, stream, self._partitions)
        self._known.add(stream)

    async def _wait_for_room(self, key: str) -> None:
        """Wait until a stream is shorter; what nobody has subscribed to is cut instead."""
        while True:
            groups, length = await self._connection.ask(pack("XINFO", "GROUPS", key) + pack("XLEN", key), 2, again=True)
            if not groups:
                await self._connection.ask(pack("XTRIM", key, "MAXLEN", "~", self._full), again=True)
                return
            if length < self._full:
                return
            slowest = min(groups, key=_position)[b"name"].decode()
            self._trouble = (
                f"{key} is full: {length} entries wait for the group {slowest!r}; if nobody is to read them, "
                f"XGROUP DESTROY {key} {slowest}"
            )
            await asyncio.sleep(PAUSE)

    def _key(self, message: Message) -> str:
        if message.key is None:
            self._turn += 1
            return stream_key(message.to, self._turn % self._partitions)
        return stream_key(message.to, place(message.key, self._partitions))

    def _settle(self, messages: Sequence[Message], outcomes: Sequence[Any]) -> None:
        assert self._tally is not None
        for message, outcome in zip(messages, outcomes, strict=False):
            if isinstance(outcome, ReplyError | ConfigError):
                self._tally.settle(message, Undeliverable(f"redis:{message.to}: {outcome}"))
            else:
                self._tally.settle(message, outcome if isinstance(outcome, Unavailable) else None)


def _position(group: dict[bytes, Any]) -> tuple[int, ...]:
    return tuple(map(int, group[b"last-delivered-id"].split(b"-")))
