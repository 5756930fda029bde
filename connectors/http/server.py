"""The one HTTP server of a process: it listens, finds the source of a path, and says what it cannot do."""

from __future__ import annotations

import asyncio
import errno
import logging
import re
from typing import Protocol
from urllib.parse import quote, unquote

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import BaseRequest, Response, Server, ServerRunner, TCPSite

from penstock.connectors import template
from penstock.connectors.http.answer import problem
from penstock.connectors.site import Site
from penstock.errors import BadEvent, ConfigError

log = logging.getLogger(__name__)

_wire = logging.getLogger(f"{__name__}.wire")
"""Where aiohttp tells what befalls its connections."""

_SAFE = "/{}:@!$&'()*,;=~-._"
GRACE = 5.0  # seconds that requests under way have to end when the process leaves


class Route(Protocol):
    """What answers the requests of one path template."""

    path: str
    method: str

    async def handle(self, request: BaseRequest, captures: dict[str, str]) -> Response:
        """The answer to one request."""
        ...


class HttpServer:
    """Listens on `PENSTOCK_HTTP_LISTEN` from the first open source to the end of the process.

    - `address`: the URL it listens on, empty until it does.
    - `requests`: how many it has begun to handle.
    """

    def __init__(self, site: Site) -> None:
        process = site.settings.process
        self.listen = process.http_listen
        self.limit = process.http_limit
        self.address = ""
        self.requests = 0
        self._host, self._port = _host_and_port(self.listen)
        self._reuse = process.workers > 1
        self._exact: dict[str, Route] = {}
        self._templates: list[tuple[re.Pattern[str], Route]] = []
        self._expected: dict[str, re.Pattern[str]] = {}
        self._runner: ServerRunner | None = None
        self._opening = asyncio.Lock()
        site.on_close(self.close)

    async def open(self) -> None:
        """Listen, unless that is done. Raises `ConfigError` where the address cannot be used."""
        async with self._opening:
            if self._runner is not None:
                return
            loop = asyncio.get_running_loop()
            limit = self.limit

            def make(message: object, payload: object, protocol: object, writer: object, task: object) -> BaseRequest:
                return BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=limit)  # type: ignore[arg-type]

            # Compressed bodies are inflated here, where one that is cut short is noticed.
            server = Server(self._handle, request_factory=make, access_log=None, auto_decompress=False, logger=_wire)
            runner = ServerRunner(server, shutdown_timeout=GRACE)
            await runner.setup()
            try:
                await TCPSite(runner, self._host, self._port, reuse_port=self._reuse, backlog=1024).start()
            except OSError as error:
                await runner.cleanup()
                why = "another process does" if error.errno == errno.EADDRINUSE else error.strerror
                raise ConfigError(
                    f"PENSTOCK_HTTP_LISTEN is {self.listen}: cannot listen there ({why}); set it to another host:port"
                ) from None
            self._runner = runner
            host, port = runner.addresses[0][:2]
            self.address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def close(self) -> None:
        """Stop listening, and end the connections. Safe to call twice."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    def expect(self, path: str) -> None:
        """Know of a path that is on its way, or leaving: while nobody answers it, requests are to come again."""
        self._expected[path] = template.matcher(quote(path, safe=_SAFE))

    def add(self, route: Route) -> None:
        """Answer the route's path from now on. Raises `ConfigError` where another one does already."""
        known = [*self._exact.values(), *(other for _, other in self._templates)]
        if any(other.path == route.path and other.method == route.method and other is not route for other in known):
            raise ConfigError(f"two sources listen on {route.method} {route.path}: give one of them another path")
        self.remove(route)
        if template.names(route.path):
            self._templates.append((template.matcher(quote(route.path, safe=_SAFE)), route))
        else:
            self._exact[route.path] = route

    def remove(self, route: Route) -> None:
        """Answer the route's path no more."""
        if self._exact.get(route.path) is route:
            del self._exact[route.path]
        self._templates = [(pattern, other) for pattern, other in self._templates if other is not route]

    async def _handle(self, request: BaseRequest) -> Response:
        self.requests += 1
        try:
            route = self._exact.get(request.raw_path)
            if route is not None and route.method == request.method:
                return await route.handle(request, {})
            return await self._find(request)
        except BadEvent as error:
            return problem(error.status, error.reason, error.path)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            log.exception("%s %s was not answered", request.method, request.path)
            return problem(500, "the request could not be processed; the log says why")

    async def _find(self, request: BaseRequest) -> Response:
        """The way of requests whose path is not that of a source, letter by letter."""
        found: list[tuple[Route, dict[str, str]]] = []
        exact = self._exact.get(request.path)
        if exact is not None:
            found.append((exact, {}))
        raw = request.rel_url.raw_path
        for pattern, route in self._templates:
            match = pattern.fullmatch(raw)
            if match is not None:
                found.append((route, {name: unquote(value) for name, value in match.groupdict().items()}))
        for route, captures in found:
            if route.method == request.method:
                return await route.handle(request, captures)
        if not found and any(pattern.fullmatch(raw) for pattern in self._expected.values()):
            return problem(503, f"nothing takes in what comes to {request.path} at this moment: send it again")
        if not found:
            return problem(404, f"nothing listens on {request.path}")
        allowed = ", ".join(sorted({route.method for route, _ in found}))
        answer = problem(405, f"{request.method} is not understood here: send {allowed}")
        answer.headers["Allow"] = allowed
        return answer


def http_server(site: Site) -> HttpServer:
    """The process's server. Raises `ConfigError` where its address cannot be understood."""
    return site.process.share("http server", lambda: HttpServer(site.process))


def _host_and_port(listen: str) -> tuple[str | None, int]:
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"PENSTOCK_HTTP_LISTEN is {listen!r}: write host:port, for example 127.0.0.1:8080")
    return host.strip("[]") or None, int(port)


def _ours(record: logging.LogRecord) -> bool:
    """Whether a line belongs into our log. Whoever sends what is no request has his 400, and fills nobody's disk."""
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, HttpProcessingError):
        return True
    log.debug("what came is no request: %s", error)
    return False


_wire.addFilter(_ours)
