"""`decide` by hand and as fast as it goes: a per-event loop over one multiplexed connection, batched by loop tick.

A fixed pool of coroutines, each taking the next event. Whatever they ask of Redis within one turn of the event loop is
one write of commands that were packed ahead; whatever they ask of the model is one run. Replies are parsed by hiredis
in the transport's own callback. No order of keys, no confirmation, no retry, no metrics.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import hiredis
import msgspec

from benchmarks.decision import FIELDS, INPUTS, THRESHOLD, Decision
from benchmarks.payments import Payment
from benchmarks.references.session import opened

SLOTS = 256
"""Coroutines. Of 64, 128, 256 and 512 the fastest."""

Future = asyncio.Future[Any]


class Store(asyncio.Protocol):
    """One connection for all: commands gather until the loop's next turn, replies come in their order."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._packed: list[bytes] = []
        self._waiting: deque[Future] = deque()
        self._transport: Any = None
        fields = b"".join(b"$%d\r\n%b\r\n" % (len(name), name.encode()) for name in FIELDS)
        self._form = b"*%d\r\n$5\r\nHMGET\r\n$%%d\r\ncard:%%b\r\n%b" % (len(FIELDS) + 2, fields)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def hmget(self, card: str) -> Future:
        """The fields of a card's hash, as a list of bytes."""
        future = self._loop.create_future()
        self._waiting.append(future)
        if not self._packed:
            self._loop.call_soon(self._write)
        key = card.encode()
        self._packed.append(self._form % (len(key) + 5, key))
        return future

    def _write(self) -> None:
        packed, self._packed = self._packed, []
        self._transport.write(b"".join(packed))

    def data_received(self, data: bytes) -> None:
        reader, waiting = self._reader, self._waiting
        reader.feed(data)
        gets = reader.gets
        while (reply := gets()) is not False:
            waiting.popleft().set_result(reply)

    def close(self) -> None:
        self._transport.close()


class Model:
    """One run for all rows that were asked for since the loop's last turn."""

    def __init__(self, probabilities: Callable[[Sequence[bytes]], list[float]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._probabilities = probabilities
        self._rows: list[bytes] = []
        self._waiting: list[Future] = []

    def ask(self, row: bytes) -> Future:
        """The probability of the positive class."""
        future = self._loop.create_future()
        if not self._rows:
            self._loop.call_soon(self._run)
        self._rows.append(row)
        self._waiting.append(future)
        return future

    def _run(self) -> None:
        rows, self._rows = self._rows, []
        waiting, self._waiting = self._waiting, []
        for future, value in zip(waiting, self._probabilities(rows), strict=True):
            future.set_result(value)


async def connect(redis_url: str) -> Store:
    """A connection to the server that the URL names."""
    parts = urlsplit(redis_url)
    _, store = await asyncio.get_running_loop().create_connection(Store, parts.hostname or "", parts.port or 6379)
    return store


async def run(values: Sequence[bytes], redis_url: str, model: bytes) -> tuple[float, list[bytes]]:
    """Events per second, and the decisions."""
    store = await connect(redis_url)
    hmget, ask = store.hmget, _warm(model).ask
    decode, encode = msgspec.json.Decoder(Payment).decode, msgspec.json.Encoder().encode
    pack = struct.Struct(f"{len(INPUTS)}f").pack
    decisions: list[bytes] = []
    done = decisions.append
    events = iter(values)

    async def slot() -> None:
        for value in events:
            payment = decode(value)
            found = await hmget(payment.card)
            risk = await ask(pack(payment.amount, *map(float, found)))
            done(encode(Decision(payment.id, payment.card, risk < THRESHOLD, risk)))

    began = perf_counter()
    await asyncio.gather(*(slot() for _ in range(SLOTS)))
    rate = len(values) / (perf_counter() - began)
    store.close()
    return rate, decisions


@asynccontextmanager
async def slots(
    events: asyncio.Queue[bytes], done: Callable[[bytes], None], redis_url: str, model: bytes
) -> AsyncIterator[None]:
    """The same coroutines over a queue that is filled meanwhile; `done` gets each decision."""
    store = await connect(redis_url)
    hmget, ask = store.hmget, _warm(model).ask
    decode, encode = msgspec.json.Decoder(Payment).decode, msgspec.json.Encoder().encode
    pack = struct.Struct(f"{len(INPUTS)}f").pack

    async def slot() -> None:
        while True:
            payment = decode(await events.get())
            found = await hmget(payment.card)
            risk = await ask(pack(payment.amount, *map(float, found)))
            done(encode(Decision(payment.id, payment.card, risk < THRESHOLD, risk)))
            events.task_done()

    tasks = [asyncio.ensure_future(slot()) for _ in range(SLOTS)]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    store.close()


def _warm(model: bytes) -> Model:
    probabilities = opened(model)
    for size in (1, 8, 64, SLOTS):
        probabilities([bytes(4 * len(INPUTS))] * size)
    return Model(probabilities)
