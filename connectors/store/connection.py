"""A multiplexed connection to a Redis or Valkey server: many callers, one socket, one write per loop tick."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import msgspec

from penstock.connectors.store.link import Ask, Link
from penstock.errors import ConfigError, Unavailable

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

log = logging.getLogger("penstock.redis")

FIRST_WAIT, LONGEST_WAIT = 0.05, 2.0
"""Seconds between attempts to connect; doubled from the first to the longest, less a random half."""

TRIES = 3
"""How often a request is sent that may be sent again: one that kills every connection must not be the last word."""


class Statistics(msgspec.Struct, frozen=True):
    """What a connection has done so far, and what waits on it now.

    `batch` is the mean number of commands per write; `in_flight` counts commands whose replies are owed, of at
    most `limit`.
    """

    commands: int
    writes: int
    batch: float
    in_flight: int
    limit: int
    connects: int


class Connection:
    """Many callers' commands over one socket, answered in the order they were asked.

    What is asked for within one tick of the event loop leaves in one write, and a whole pipeline costs its caller one
    future. No blocking command belongs here unless the connection is its caller's own.

    - `url`: `redis://`, `rediss://` (TLS) or `unix://`, with user, password, database and redis-py's options.
    - `name`: what errors and `/readyz` call it.
    - `limit`: commands in flight; beyond it `ask` fails with `Unavailable`, rather than let memory grow.
    - `timeout`: seconds without any reply, while replies are owed, after which the socket counts as dead; it may take
      twice as long until that is noticed.

    - `patience`: seconds that requests wait for a lost connection to come back.
    - `connected`: called when a lost connection has come back, perhaps to another server process.

    When the socket is lost, it is opened again at once, and then after longer and longer pauses; `problem` says why it
    does not succeed. What may be sent twice is sent again; every other request in flight fails with `Unavailable`, its
    outcome unknown. When `patience` has run out, whatever waits fails, and what is asked from then on fails at once.
    """

    def __init__(
        self, url: str, *, name: str = "store", limit: int = 100_000, timeout: float = 5.0, patience: float = 1.0
    ) -> None:
        self.name = name
        self.where = _where(url)
        self.limit = limit
        self.problem: str | None = "not connected yet"
        self._url = url
        self._timeout = timeout
        self._patience = patience
        self._link: Link | None = None
        self._waiting: list[Ask] = []
        self._asked = self._done = self._writes = self._connects = 0
        self.connected: Callable[[], None] = lambda: None
        self._pause = 0.0
        self._down = self._closed = True
        self._opening = asyncio.Lock()
        self._connecting: asyncio.Task[None] | None = None
        self._oldest: tuple[Ask, int] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop

    async def open(self) -> None:
        """Connect once. Raises `Unavailable` if the server does not answer, `ConfigError` if it refuses the login."""
        async with self._opening:
            if self._closed:
                self._loop = asyncio.get_running_loop()
                await self._connect()
                self._closed = False
                self._watch()

    def ask(
        self, packed: bytes, count: int = 1, *, again: bool = False, forgive: str = ""
    ) -> asyncio.Future[list[Any]]:
        """Send `count` packed commands and get the future of their replies, a list in the same order.

        `again` says that they may be sent twice: reads, and writes that are idempotent. An error reply fails the
        future with `Unavailable` or `ReplyError`, except for the code `forgive`, in whose place stands None.
        """
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        link = self._link
        if link is None and self._down:
            future.set_exception(Unavailable(self.name, self.problem or "the connection is closed"))
            return future
        if self._in_flight() + count > self.limit:
            reason = f"{self._in_flight()} commands wait for {self.where} already, and {self.limit} is the limit"
            future.set_exception(Unavailable(self.name, reason))
            return future
        if link is not None and not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(Ask(packed, count, future, again, forgive))
        self._asked += count
        return future

    def statistics(self) -> Statistics:
        """Counts since the connection was made."""
        mean = self._asked / self._writes if self._writes else 0.0
        return Statistics(self._asked, self._writes, mean, self._in_flight(), self.limit, self._connects)

    async def close(self) -> None:
        """Leave. What is still in flight fails with `Unavailable`. Safe to call twice."""
        if self._closed:
            return
        self._down = self._closed = True
        self.problem = "the connection is closed"
        if self._timer is not None:
            self._timer.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        if self._link is not None:
            link = self._link
            link.abort()
            await link.closed
        self._fail_waiting()

    def _in_flight(self) -> int:
        return self._asked - self._done - (self._link.answered if self._link is not None else 0)

    def _flush(self) -> None:
        if self._link is not None and self._waiting:
            asks, self._waiting = self._waiting, []
            self._writes += 1
            self._link.send(asks)

    async def _connect(self) -> None:
        client = await self._greet()
        link = Link(self.name, self._lost)
        link.take(client)
        self._link, self._down, self.problem = link, False, None
        self._connects += 1
        self._flush()

    async def _greet(self) -> AbstractConnection:
        """Open a socket, log in and choose the database, all of which is redis-py's."""
        try:
            import hiredis  # noqa: F401 - the link parses with it

            # In a thread: it takes as long as everything else that opens, which goes on meanwhile.
            await asyncio.to_thread(import_module, "redis.asyncio.connection")
            from redis import exceptions
        except ImportError as error:
            raise ConfigError(f"{self.name}: its client is not installed: pip install 'penstock[redis]'") from error
        client: Any = _client(self._url, self.name, self._timeout)
        try:
            await client.connect()
            await _answer(client)
        except (exceptions.AuthenticationError, exceptions.ResponseError) as error:
            raise ConfigError(f"{self.name}: {self.where} refuses the login of its address ({error})") from None
        except (exceptions.RedisError, OSError) as error:
            raise Unavailable(self.name, f"{self.where} does not answer ({error})") from None
        except BaseException:
            await client.disconnect(nowait=True)
            raise
        return cast("AbstractConnection", client)

    def _lost(self, link: Link, reason: str) -> None:
        self._link = None
        # A socket that never answered is not opened again in a hurry.
        self._pause = 0.0 if link.answered else max(FIRST_WAIT, self._pause)
        self._done += link.answered
        again = []
        for ask in link.asks:
            if ask.again and ask.sent < TRIES and not ask.future.done():
                ask.replies.clear()
                again.append(ask)
            else:
                self._done += ask.count
                outcome = "" if ask.again else "; outcome unknown"
                ask.fail(Unavailable(self.name, f"the connection to {self.where} was lost ({reason}){outcome}"))
        self._waiting[:0] = again
        if not self._closed:
            self._connecting = self._loop.create_task(self._reconnect())

    async def _reconnect(self) -> None:
        lost = self._loop.time()
        deadline = lost + self._patience
        while True:
            await asyncio.sleep(self._pause * (1.0 - random.random() / 2.0))
            self._pause = min(LONGEST_WAIT, max(FIRST_WAIT, self._pause * 2.0))
            before = self.problem
            try:
                await self._connect()
            except Unavailable as error:
                self.problem = error.reason
            except ConfigError as error:
                self.problem = str(error)
            except Exception as error:  # whatever it is, those who wait must not wait for a task that has ended
                self.problem = f"{self.where}: {type(error).__name__}: {error}"
                log.exception("%s: connecting failed and is tried again", self.name)
            else:
                self.connected()
                if before is not None:
                    log.warning("%s: %s answers again, after %.1f s", self.name, self.where, self._loop.time() - lost)
                return
            if before is None:
                # Said here too: where every question has a default, nothing else would tell of it.
                log.warning("%s: the connection is lost and tried again (%s)", self.name, self.problem)
            if self._loop.time() >= deadline:
                self._down = True
                self._fail_waiting()

    def _fail_waiting(self) -> None:
        asks, self._waiting = self._waiting, []
        for ask in asks:
            self._done += ask.count
            ask.fail(Unavailable(self.name, self.problem or ""))

    def _watch(self) -> None:
        """Abort a socket on which the oldest request has got no reply since the last look."""
        link, before = self._link, self._oldest
        self._oldest = (link.asks[0], len(link.asks[0].replies)) if link is not None and link.asks else None
        if link is not None and before is not None and before == self._oldest:
            link.abort()
        self._timer = self._loop.call_later(self._timeout, self._watch)


def _client(url: str, name: str, timeout: float) -> AbstractConnection:
    from redis.asyncio.connection import Connection as Tcp
    from redis.asyncio.connection import parse_url

    options: dict[str, Any] = {"protocol": 3, "socket_timeout": timeout, "socket_connect_timeout": timeout}
    try:
        options.update(parse_url(url))
        client: AbstractConnection = options.pop("connection_class", Tcp)(**options)
    except (TypeError, ValueError) as error:
        example = "write for example redis://localhost:6379/0"
        raise ConfigError(f"{name}: {_where(url)!r} is not an address ({error}); {example}") from None
    return client


async def _answer(client: Any) -> None:
    """See that the server answers: one that still loads its data greets, and refuses everything else."""
    from redis.exceptions import NoPermissionError, RedisError

    try:
        await client.send_command("PING")
        await client.read_response()
    except NoPermissionError:
        return
    except RedisError:
        await client.disconnect()
        raise


def _where(url: str) -> str:
    """The address without its secrets."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] or parts.path
