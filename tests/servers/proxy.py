"""A bad network: a TCP proxy between a client and a server that cuts, delays, throttles and holds up what passes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from types import TracebackType
from typing import Self

from tests.servers.port import HOST, free_port


class Proxy:
    """Listens on a port of its own and passes everything on to `port`. A context manager.

    `delay` is in seconds for each piece that passes, `rate` in bytes a second (0: as fast as it goes); both hold from
    the moment that they are set. `open` says whether new connections are let through.
    """

    def __init__(self, port: int) -> None:
        self.port = free_port()
        self.to = port
        self.delay = 0.0
        self.rate = 0.0
        self.open = True
        self._loop = asyncio.new_event_loop()
        self._passing = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Break all connections that there are, as a router does that forgets them."""
        self._soon(self._cut)

    def hold(self) -> None:
        """Let nothing pass, without a word to either side."""
        self._soon(self._passing.clear)

    def release(self) -> None:
        """Let pass what was held, and everything after it as fast as it goes."""
        self.delay, self.rate, self.open = 0.0, 0.0, True
        self._soon(self._passing.set)

    def _soon(self, call: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(call)

    async def _start(self) -> None:
        self._passing.set()
        self._server = await asyncio.start_server(self._connected, HOST, self.port)

    async def _stop(self) -> None:
        self._server.close()
        self._cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._connect(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        if not self.open:
            writer.transport.abort()
            return
        try:
            answers, on = await asyncio.open_connection(HOST, self.to)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(on)
        await asyncio.gather(self._pass(reader, on), self._pass(answers, writer))
        self._writers -= {writer, on}

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                if self.rate:
                    await asyncio.sleep(len(data) / self.rate)
                await self._passing.wait()
                writer.write(data)
                await writer.drain()
        writer.close()
