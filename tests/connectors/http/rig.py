"""HTTP seen from outside: a client that posts, a server that is called, and rigs for the contracts."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from aiohttp import ClientSession, web

from penstock.connectors import Batch, Message, Refusal, Settings, Site, Source
from penstock.connectors.http.endpoint import Http
from penstock.connectors.http.server import http_server
from penstock.errors import BadEvent
from tests.connectors.rig import Record, reading, until
from tests.servers.port import free_port

_numbers = itertools.count()
JSON = {"content-type": "application/json"}
LINES = {"content-type": "application/x-ndjson"}
STRUCTURED = {"content-type": "application/cloudevents+json"}
BATCH = {"content-type": "application/cloudevents-batch+json"}
CORE = {"specversion": "1.0", "id": "7", "source": "/a", "type": "t"}


class HttpSourceRig:
    """A path on a server of its own. Senders are tasks: they wait for their answer."""

    def __init__(self, path: str = "/payments", settings: Mapping[str, str] | None = None, **options: Any) -> None:
        self.endpoint = Http(path, **options)
        self.path = path
        self.settings = {"PENSTOCK_HTTP_LISTEN": "127.0.0.1:0", **(settings or {})}
        self.session = ClientSession()
        self.senders: set[asyncio.Task[Answer]] = set()
        self._site: Site | None = None

    def site(self) -> Site:
        self._site = Site(Settings(self.settings), pipeline=f"demo-{next(_numbers)}")
        return self._site

    @property
    def url(self) -> str:
        assert self._site is not None
        return http_server(self._site).address

    def binary(self, attributes: Mapping[str, str]) -> dict[str, str]:
        return {f"ce-{name}": value for name, value in attributes.items()}

    async def post(self, body: bytes, headers: Mapping[str, str], path: str = "", method: str = "POST") -> Answer:
        """One request and its answer."""
        async with self.session.request(method, self.url + (path or self.path), data=body, headers=headers) as response:
            answer = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, answer, await response.read())

    async def begin(self, body: bytes, headers: Mapping[str, str], path: str = "") -> asyncio.Task[Answer]:
        """Begin a request; returns when the server has begun to handle it."""
        assert self._site is not None
        server = http_server(self._site)
        before = server.requests
        sender = asyncio.create_task(self.post(body, headers, path))
        self.senders.add(sender)
        await until(lambda: server.requests > before or sender.done())
        return sender

    async def produce(self, records: Sequence[Record]) -> None:
        for headers, group in itertools.groupby(records, key=lambda record: dict(record.headers)):
            values = [record.value or b"" for record in group]
            if headers == JSON and len(values) > 1:
                await self.begin(b"\n".join(values), LINES)
            else:
                for value in values:
                    await self.begin(value, headers)

    async def close(self) -> None:
        await self.session.close()
        await asyncio.gather(*self.senders, return_exceptions=True)


class Answer:
    """A status, headers by lower-case name, and a body."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def __repr__(self) -> str:
        return f"{self.status} {self.body!r}"


class HttpSinkRig:
    """A server that keeps what it is sent. `answer` may be replaced, to say something else than 204."""

    def __init__(self, path: str = "/block") -> None:
        self.port = free_port()
        self.to = f"http://127.0.0.1:{self.port}{path}"
        self.records: list[Record] = []
        self.answer: Callable[[web.BaseRequest, Record], Awaitable[web.Response]] | None = None
        self._runner: web.ServerRunner | None = None

    @property
    def endpoint(self) -> Http:
        return Http(self.to)

    def site(self) -> Site:
        return Site(Settings({}), pipeline=f"demo-{next(_numbers)}")

    def binary(self, attributes: Mapping[str, str]) -> dict[str, str]:
        return {f"ce-{name}": value for name, value in attributes.items()}

    async def up(self) -> None:
        self._runner = web.ServerRunner(web.Server(self._take))
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, backlog=1024).start()

    async def down(self) -> None:
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def received(self, count: int) -> list[Record]:
        await until(lambda: len(self.records) >= count)
        return list(self.records)

    async def close(self) -> None:
        await self.down()

    async def _take(self, request: web.BaseRequest) -> web.Response:
        record = Record(await request.read(), headers={name.lower(): value for name, value in request.headers.items()})
        if self.answer is not None:
            return await self.answer(request, record)
        self.records.append(record)
        return web.Response(status=204)


def opened(rig: HttpSourceRig, endpoint: Http | None = None) -> AbstractAsyncContextManager[Source]:
    """The rig's source, or another one on its server."""
    return reading(endpoint or rig.endpoint, rig.site())


@asynccontextmanager
async def echoing(rig: HttpSourceRig, endpoint: Http | None = None) -> AsyncIterator[list[Batch]]:
    """A source whose every record is answered with what it said, and kept in the list."""
    seen: list[Batch] = []

    async def run() -> None:
        while batches := await source.receive():
            for batch in batches:
                seen.append(batch)
                for index, value in enumerate(batch.values):
                    if isinstance(value, BadEvent):
                        batch.answer(index, Refusal(value.status, value.reason, value.path))
                    else:
                        batch.answer(index, [Message("reply", value)])
                    batch.settle(index)

    async with opened(rig, endpoint) as source:
        running = asyncio.create_task(run())
        yield seen
        source.stop()
        await running
