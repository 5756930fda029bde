"""HTTP paths whose events are answered when they are safe in a stream of the store, and run from there."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiohttp.web import BaseRequest, Response

from penstock.connectors.batch import Batch, Partition, Refusal
from penstock.connectors.duration import seconds
from penstock.connectors.http.answer import LINES, answer, answer_lines, problem
from penstock.connectors.http.body import body_of
from penstock.connectors.http.request import Exchange, kind_of
from penstock.connectors.http.server import http_server
from penstock.connectors.http.stream import IS_FULL, OTHER, HttpStreamBatch, appending
from penstock.connectors.redis.source import RedisSource
from penstock.connectors.site import Site
from penstock.connectors.store.connection import Connection
from penstock.connectors.store.reply import ReplyError
from penstock.connectors.watermark import Watermarks
from penstock.errors import BadEvent, Unavailable

if TYPE_CHECKING:
    from penstock.connectors.http.endpoint import Http

MOST = 500
"""Events in one piece on their way to the store."""

LATER = 5.0
"""Seconds after which a sender may come again to a stream that is full."""


class HttpDurableSource:
    """One path. Every process takes requests in; one at a time holds the stream's lease and runs what is in it.

    What the store does with what it has answered is the engine's to ask, before anything is opened.

    The stream has one partition, so that events keep the order in which they were accepted, whoever accepted them.

    - `refused`: events that were refused to their senders, by status.
    - `turned_away`: requests of which nothing was taken in, by status.
    """

    def __init__(self, endpoint: Http, site: Site) -> None:
        self.path = endpoint.path_or_url
        self.method = endpoint.method
        self.refused: Counter[int] = Counter()
        self.turned_away: Counter[int] = Counter()
        self._timeout = seconds(endpoint.timeout)
        self._hold = seconds(endpoint.hold)
        self._server = http_server(site)
        self._partition = Partition(self.path)
        self._stopped = False
        self._full = site.settings.process.stream_full
        url = site.settings.store().url
        # A template's braces would tell a cluster what to hash.
        where = self.path.replace("{", "(").replace("}", ")")
        self.stream = f"penstock:{site.group}:http:{self.method} {where}"
        self._connection = Connection(url, name="store")
        reader = Connection(url, name="store")
        self._entries = RedisSource(self.stream, 1, site.group, self._connection, reader, make=HttpStreamBatch)

    @property
    def problem(self) -> str | None:
        return "stopping" if self._stopped else self._entries.problem

    @property
    def watermarks(self) -> Watermarks | None:
        return self._entries.watermarks

    @watermarks.setter
    def watermarks(self, watermarks: Watermarks | None) -> None:
        self._entries.watermarks = watermarks

    async def open(self) -> None:
        await self._connection.open()
        await self._entries.open()
        self._server.add(self)
        await self._server.open()

    async def receive(self) -> Sequence[Batch]:
        return await self._entries.receive()

    def stop(self) -> None:
        self._stopped = True
        self._entries.stop()

    async def confirm(self) -> None:
        await self._entries.confirm()

    async def close(self) -> None:
        self.stop()
        self._server.remove(self)
        await self._entries.close()
        await self._connection.close()

    def lag(self) -> int | None:
        return self._entries.lag()

    async def handle(self, request: BaseRequest, captures: dict[str, str]) -> Response:
        """Take one request in, and say so. Raises `BadEvent` for what cannot be taken."""
        if self._stopped:
            return self._turn_away(503, "stopping: send it again")
        headers = request.headers
        try:
            kind = kind_of(headers.get("Content-Type", ""))
            body = await body_of(request, self._server.limit)
            exchange = Exchange(kind, body, headers, request.path, captures, 0.0)
        except BadEvent as error:
            self.turned_away[error.status] += 1
            raise
        if not exchange.values:
            return Response(body=b"", content_type=LINES)
        try:
            async with asyncio.timeout(self._timeout):
                said = await self._append(exchange)
        except (Unavailable, ReplyError) as error:
            return self._turn_away(503, f"it is not known to be safe ({error}): send it again")
        except TimeoutError:
            return self._turn_away(503, "the store did not answer in time: send it again")
        for refusal in said.answers.values():
            assert isinstance(refusal, Refusal)
            self.refused[refusal.status] += 1
        return answer_lines(said) if exchange.many else answer(said, 0)

    async def _append(self, exchange: Exchange) -> Batch:
        """Append what can be; what each event is answered. Raises `Unavailable`."""
        said = Batch(self._partition, exchange.values)
        good: list[int] = []
        for at, value in enumerate(exchange.values):
            if isinstance(value, BadEvent):
                said.answer(at, Refusal(value.status, value.reason, value.path))
            else:
                good.append(at)
        for start in range(0, len(good), MOST):
            some = good[start : start + MOST]
            packed = b"".join([appending(self.stream, self._full, exchange, at, self._hold) for at in some])
            again = all(map(exchange.identified, some))
            for at, outcome in zip(some, await self._connection.ask(packed, len(some), again=again), strict=True):
                if outcome == IS_FULL:
                    said.answer(at, Refusal(429, "busy: the stream is full, send it again", retry_after=LATER))
                elif outcome == OTHER:
                    said.answer(at, Refusal(422, "its id came with another body or path: give each event its own"))
        return said

    def _turn_away(self, status: int, reason: str) -> Response:
        self.turned_away[status] += 1
        return problem(status, reason)
