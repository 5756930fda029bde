"""The admin port: whether the process lives, whether it is ready, and its metrics."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable

import msgspec

from penstock.errors import ConfigError
from penstock.pipeline.serving.pages import Page, Pages

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
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen. Raises `ConfigError` where the address is wrong or taken."""
        pages = Pages({"/healthz": self._healthz, "/readyz": self._readyz, "/metrics": self._metrics})
        try:
            if "/" in self.listen:
                self._server = await asyncio.start_unix_server(pages.serve, self.listen)
            else:
                host, port = address(self.listen, VARIABLE)
                self._server = await asyncio.start_server(pages.serve, host, port)
                self.port = self._server.sockets[0].getsockname()[1]
        except OSError as error:
            raise ConfigError(taken(self.listen, VARIABLE, error)) from error

    async def close(self) -> None:
        """Stop listening. Safe to call twice."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _healthz(self) -> Page:
        return Page(b"ok\n")

    async def _readyz(self) -> Page:
        problems = await self.view.problems()
        return Page("".join(f"{problem}\n" for problem in problems).encode(), 503) if problems else Page(b"ready\n")

    async def _metrics(self) -> Page:
        from prometheus_client import CONTENT_TYPE_LATEST

        return Page(await self.view.metrics(), type=CONTENT_TYPE_LATEST)


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
