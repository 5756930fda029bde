"""A few pages over HTTP, asked for by whoever speaks it, and by those who do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from penstock.pipeline.serving import pages
from penstock.pipeline.serving.pages import Page, Pages, ask


async def fine() -> Page:
    return Page("grün\n".encode())


async def down() -> Page:
    return Page(b"the store does not answer\n", 503)


async def broken() -> Page:
    raise ZeroDivisionError("no such number")


@pytest.fixture
def socket(tmp_path: Path) -> str:
    return str(tmp_path / "socket")


@asynccontextmanager
async def listening(
    socket: str, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] | None = None
) -> AsyncIterator[None]:
    shown = Pages({"/fine": fine, "/down": down, "/broken": broken})
    server = await asyncio.start_unix_server(serve or shown.serve, socket)
    try:
        yield
    finally:
        server.close()


async def answer(socket: str, request: bytes, *, ends: bool = False) -> tuple[bytes, bytes, bytes]:
    """The first line of what is answered, the header, the body."""
    reader, writer = await asyncio.open_unix_connection(socket)
    writer.write(request)
    if ends:
        writer.write_eof()
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    line, _, header = head.partition(b"\r\n")
    return line, header, body


async def test_a_page_is_answered_whole_and_the_connection_closed(socket: str) -> None:
    async with listening(socket):
        line, header, body = await answer(socket, b"GET /fine HTTP/1.1\r\nHost: here\r\n\r\n")
    assert line == b"HTTP/1.1 200 OK"
    assert header.split(b"\r\n") == [
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Length: 6",
        b"Connection: close",
    ]
    assert body.decode() == "grün\n"


async def test_what_follows_a_question_mark_is_not_looked_at(socket: str) -> None:
    async with listening(socket):
        assert (await answer(socket, b"GET /fine?collect=all HTTP/1.0\r\n\r\n"))[2] == "grün\n".encode()


async def test_head_gets_the_header_alone(socket: str) -> None:
    async with listening(socket):
        line, header, body = await answer(socket, b"HEAD /down HTTP/1.1\r\n\r\n")
    assert line == b"HTTP/1.1 503 Service Unavailable"
    assert b"Content-Length: 26" in header and body == b""


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        (b"GET /nothing HTTP/1.1\r\n\r\n", b"HTTP/1.1 404 Not Found"),
        (b"POST /fine HTTP/1.1\r\n\r\n", b"HTTP/1.1 405 Method Not Allowed"),
        (b"hello\r\n\r\n", b"HTTP/1.1 400 Bad Request"),
        (b"\xff\xfe GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 Bad Request"),
        (b"\r\n\r\n", b"HTTP/1.1 400 Bad Request"),
        (b"GET " + b"/" * (2**16), b"HTTP/1.1 431 Request Header Fields Too Large"),
    ],
    ids=["nothing there", "another method", "two words too few", "no letters", "empty", "too long"],
)
async def test_what_cannot_be_answered_is_told_so(socket: str, request_: bytes, line: bytes) -> None:
    async with listening(socket):
        assert (await answer(socket, request_))[0] == line


async def test_a_page_that_fails_is_answered_and_logged(socket: str, caplog: pytest.LogCaptureFixture) -> None:
    async with listening(socket):
        line, _, body = await answer(socket, b"GET /broken HTTP/1.1\r\n\r\n")
    assert (line, body) == (b"HTTP/1.1 500 Internal Server Error", b"Internal Server Error\n")
    assert "/broken cannot be shown" in caplog.text and "no such number" in caplog.text


async def test_a_connection_without_a_request_is_closed(socket: str) -> None:
    async with listening(socket):
        assert await answer(socket, b"GET /fi", ends=True) == (b"", b"", b"")


async def test_who_says_nothing_is_not_waited_for(socket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PATIENCE", 0.0)
    async with listening(socket):
        assert await answer(socket, b"") == (b"", b"", b"")


async def test_asking_gives_status_and_text(socket: str) -> None:
    async with listening(socket):
        assert await ask(socket, "/fine") == (200, "grün\n")
        assert await ask(socket, "/down") == (503, "the store does not answer\n")


async def test_asking_where_nobody_answers_raises(socket: str) -> None:
    with pytest.raises(FileNotFoundError):
        await ask(socket, "/fine")

    async def leave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with listening(socket, leave):
        with pytest.raises(ConnectionError):
            await ask(socket, "/fine")
