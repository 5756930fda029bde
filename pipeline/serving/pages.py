"""A few pages over HTTP, for orchestrators, load balancers and Prometheus; and how a parent reads a worker's.

aiohttp would serve them too, but its server brings its client along: a fifth of what the start of a process takes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple

log = logging.getLogger("penstock")

PATIENCE = 10.0
"""Seconds that one connection may take, from its beginning to its end."""

END = b"\r\n\r\n"

TEXT = "text/plain; charset=utf-8"


class Page(NamedTuple):
    """What is answered."""

    body: bytes
    status: int = HTTPStatus.OK
    type: str = TEXT


class Pages:
    """Answers GET and HEAD of certain paths. Each connection is closed with its answer.

    `pages` holds what makes a page, by its path. One that fails is answered 500, and logged.
    """

    def __init__(self, pages: Mapping[str, Callable[[], Awaitable[Page]]]) -> None:
        self.pages = pages

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        try:
            async with asyncio.timeout(PATIENCE):
                writer.write(await self._answer(reader))
                await writer.drain()
        except (OSError, EOFError) as error:
            log.debug("whoever asked has gone, or said nothing: %s", error)
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            line, _, _ = (await reader.readuntil(END)).partition(b"\r\n")
            method, target, _ = line.decode("ascii").split(" ")
        except asyncio.LimitOverrunError:
            return _written(_said(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE))
        except ValueError:
            return _written(_said(HTTPStatus.BAD_REQUEST))
        return _written(await self._page(method, target.partition("?")[0]), bare=method == "HEAD")

    async def _page(self, method: str, path: str) -> Page:
        make = self.pages.get(path)
        if make is None:
            return _said(HTTPStatus.NOT_FOUND)
        if method not in ("GET", "HEAD"):
            return _said(HTTPStatus.METHOD_NOT_ALLOWED)
        try:
            return await make()
        except Exception:
            log.exception("%s cannot be shown", path)
            return _said(HTTPStatus.INTERNAL_SERVER_ERROR)


async def ask(socket: str, path: str) -> tuple[int, str]:
    """The status and the text of a page that another process serves on a Unix socket. Raises `OSError`."""
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: worker\r\nConnection: close".encode() + END)
        head, _, body = (await reader.read()).partition(END)
    finally:
        writer.close()
    if not head:
        raise ConnectionError(f"{socket} was closed without an answer")
    return int(head.split(maxsplit=2)[1]), body.decode()


def _said(status: HTTPStatus) -> Page:
    return Page(f"{status.phrase}\n".encode(), status)


def _written(page: Page, *, bare: bool = False) -> bytes:
    head = (
        f"HTTP/1.1 {page.status} {HTTPStatus(page.status).phrase}\r\n"
        f"Content-Type: {page.type}\r\n"
        f"Content-Length: {len(page.body)}\r\n"
        "Connection: close"
    )
    return head.encode() + END + (b"" if bare else page.body)
