"""Requests that come again under one id: joined to the one that runs, or given the answer of the one that has ended."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable
from hashlib import blake2b
from typing import Any
from uuid import uuid4

import msgspec
from aiohttp.web import Response

from penstock.connectors.http.request import Exchange
from penstock.connectors.protocol import Store
from penstock.errors import BadEvent, Unavailable

log = logging.getLogger("penstock.http")

KEPT, KEPT_BYTES = 10_000, 16 * 1024 * 1024
"""Answers that one path keeps in this process, and what they may hold; beyond, the oldest go."""

LEASE = 10.0
"""Seconds that a request stays with a process that no longer says so."""

PAUSE = 0.05
"""Seconds between two looks at a request that another process runs."""


class Kept(msgspec.Struct, array_like=True, frozen=True):
    """What is known of a request: `digest` of what it held, and its answer. Status 0: it runs, with who is in `by`."""

    digest: bytes
    by: bytes = b""
    status: int = 0
    headers: dict[str, str] = {}
    body: bytes = b""

    def response(self) -> Response:
        """The answer, once more."""
        return Response(status=self.status, headers=self.headers, body=self.body)

    def check(self, exchange: Exchange) -> None:
        """Raise `BadEvent` where another request came under the same id."""
        if self.digest != exchange.digest:
            raise BadEvent(
                "this Idempotency-Key came with another body, path or content type: give each request its own",
                status=422,
            )


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Kept).decode


class Repeats:
    """The ids that have come on one path, here and, where there is a store, in every process of the pipeline.

    What an `Idempotency-Key` was answered is kept for `hold` seconds, in this process and in the store; what only a
    CloudEvent's id names, in this process alone: its state and its actions carry that id wherever it is processed.
    """

    def __init__(self, scope: str, hold: float, store: Store | None) -> None:
        self._scope = scope
        self._hold = hold
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._running: dict[str, Exchange] = {}
        self._kept: OrderedDict[str, tuple[float, Kept]] = OrderedDict()
        self._bytes = 0
        self._claims: dict[str, bytes] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._writes: set[asyncio.Future[Any]] = set()

    def find(self, exchange: Exchange) -> Exchange | Kept | None:
        """The request of the same id that runs here, or its answer. Raises `BadEvent` where it held something else."""
        running = self._running.get(exchange.key)
        if running is not None:
            Kept(running.digest).check(exchange)
            return running
        found = self._kept.get(exchange.key)
        if found is None:
            return None
        if found[0] < self._loop.time():
            self._drop(exchange.key)
            return None
        found[1].check(exchange)
        return found[1]

    def begin(self, exchange: Exchange) -> None:
        """From now on, repeats join this request."""
        self._running[exchange.key] = exchange

    async def claim(self, exchange: Exchange, deadline: float) -> Kept | None:
        """Have the request to ourselves among all processes; its answer, where another one had it first.

        Raises `BadEvent` for another request under the same id, `TimeoutError` where another process still runs it at
        the deadline, `Unavailable`.
        """
        if self._store is None or not exchange.declared:
            return None
        name, mine = self._name(exchange), _encode(Kept(exchange.digest, by=uuid4().bytes))
        while True:
            found = await self._store.settle(name, mine, LEASE)
            if found is None or found == mine:  # ours, sent again after a lost reply
                self._claims[name] = mine
                if self._timer is None:
                    self._timer = self._loop.call_later(LEASE / 3, self._renew)
                return None
            kept = _decode(found)
            kept.check(exchange)
            if kept.status:
                self._keep(exchange.key, kept)
                return kept
            if self._loop.time() + PAUSE > deadline:
                raise TimeoutError
            await asyncio.sleep(PAUSE)

    def end(self, exchange: Exchange, answer: Response | None) -> None:
        """The request has ended: keep its answer; without one, a repeat of it begins anew."""
        if self._running.get(exchange.key) is not exchange:
            return
        del self._running[exchange.key]
        kept = None
        if answer is not None and self._hold > 0:
            body = answer.body if isinstance(answer.body, bytes) else b""
            kept = Kept(exchange.digest, status=answer.status, headers=dict(answer.headers), body=body)
            self._keep(exchange.key, kept)
        name = self._name(exchange)
        if self._claims.pop(name, None) is None or self._store is None:
            return
        if kept is None:
            self._write(self._store.delete([name]))
        else:
            self._write(self._store.write(name, _encode(kept), ttl=self._hold))

    async def close(self) -> None:
        """Let others have what did not end here."""
        if self._timer is not None:
            self._timer.cancel()
        claims, self._claims = list(self._claims), {}
        self._running.clear()
        if claims and self._store is not None:
            self._write(self._store.delete(claims))
        if self._writes:
            await asyncio.wait(self._writes, timeout=LEASE)

    def _name(self, exchange: Exchange) -> str:
        return f"{self._scope}:{blake2b(exchange.key.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"

    def _keep(self, key: str, kept: Kept) -> None:
        self._drop(key)
        self._kept[key] = (self._loop.time() + self._hold, kept)
        self._bytes += len(kept.body)
        while len(self._kept) > KEPT or self._bytes > KEPT_BYTES:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self._bytes -= len(found[1].body)

    def _renew(self) -> None:
        """Say that what runs here still does."""
        self._timer = None
        if self._claims and self._store is not None:
            for name, mine in self._claims.items():
                self._write(self._store.write(name, mine, ttl=LEASE))
            self._timer = self._loop.call_later(LEASE / 3, self._renew)

    def _write(self, writing: Awaitable[Any]) -> None:
        future = asyncio.ensure_future(writing)
        self._writes.add(future)
        future.add_done_callback(self._written)

    def _written(self, future: asyncio.Future[Any]) -> None:
        self._writes.discard(future)
        if not future.cancelled() and isinstance(error := future.exception(), Unavailable):
            log.warning("an answer could not be kept (%s): a repeat at another process is processed again", error)
