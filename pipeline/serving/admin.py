"""The admin port: whether the process lives, whether it is ready, and its metrics."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgspec

from penstock.errors import ConfigError

if TYPE_CHECKING:
    from aiohttp import web

VARIABLE = "PENSTOCK_ADMIN_LISTEN"


class View(msgspec.Struct, frozen=True):
    """What the admin port shows. `problems` is empty when everything is ready; `metrics` is Prometheus text."""

    problems: Callable[[], Awaitable[list[str]]]
    metrics: Callable[[], Awaitable[bytes]]


class Admin:
    """A small HTTP server, up before anything else is open.

    - `/healthz`: 200 while the process runs.
    - `/readyz`: 200 when ready, else 503 and what is not, one line each.
    - `/metrics`: for Prometheus.

    `listen` is `host:port`, or the path of a Unix socket.
    """

    def __init__(self, view: View, listen: str) -> None:
        self.view = view
        self.listen = listen
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        """Listen. Raises `ConfigError` where the address is wrong or taken."""
        try:
            # In a thread: it takes as long as everything else that opens, which goes on meanwhile.
            web = await asyncio.to_thread(import_module, "aiohttp.web")
        except ImportError as error:
            raise ConfigError("the admin port needs aiohttp: pip install 'penstock[http]'") from error

        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
            ]
        )
        self._runner = runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        try:
            if "/" in self.listen:
                await web.UnixSite(runner, self.listen).start()
            else:
                host, port = address(self.listen, VARIABLE)
                await web.TCPSite(runner, host, port).start()
                self.port = runner.addresses[0][1]
        except OSError as error:
            await runner.cleanup()
            raise ConfigError(taken(self.listen, VARIABLE, error)) from error

    async def close(self) -> None:
        """Stop listening. Safe to call twice."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _healthz(self, _: Any) -> web.Response:
        return _text("ok\n")

    async def _readyz(self, _: Any) -> web.Response:
        problems = await self.view.problems()
        return _text("".join(f"{problem}\n" for problem in problems), 503) if problems else _text("ready\n")

    async def _metrics(self, _: Any) -> web.Response:
        from aiohttp import web
        from prometheus_client import CONTENT_TYPE_LATEST

        return web.Response(body=await self.view.metrics(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def address(listen: str, variable: str) -> tuple[str, int]:
    """`host:port` as its two parts; a port alone listens on this machine only.

    >>> address("0.0.0.0:9090", "PENSTOCK_ADMIN_LISTEN"), address("9090", "PENSTOCK_ADMIN_LISTEN")
    (('0.0.0.0', 9090), ('127.0.0.1', 9090))
    """
    host, _, port = listen.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"{variable} is {listen!r}: write host:port, for example 127.0.0.1:9090")
    return host.strip("[]") or "127.0.0.1", int(port)


def taken(listen: str, variable: str, error: OSError) -> str:
    """Why nothing can listen there, in one line that says what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"{variable}: {listen} is in use by another process; stop it, or set {variable} to another port"
    return f"{variable}: cannot listen on {listen} ({error.strerror or error})"


def _text(text: str, status: int = 200) -> web.Response:
    from aiohttp import web

    return web.Response(text=text, status=status)
