"""HTTP calls as a sink: one session per process, tried again while that may help."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import (
    ClientError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    InvalidURL,
    NonHttpUrlClientError,
    TCPConnector,
)

from penstock.connectors import cloudevents
from penstock.connectors.duration import seconds
from penstock.connectors.event import Message
from penstock.connectors.protocol import Settled
from penstock.connectors.site import Site
from penstock.connectors.tally import Tally
from penstock.errors import Unavailable, Undeliverable

if TYPE_CHECKING:
    from penstock.connectors.http import Http

CONCURRENT = 100  # requests under way at once, per sink
FIRST, LONGEST = 0.1, 10.0  # seconds between attempts
AGAIN = {408, 425, 429}  # beside 5xx: answers that may be another one later
SAID = 300  # characters of a refusal's body that are kept


class HttpSession:
    """The one client session of a process."""

    def __init__(self, site: Site) -> None:
        self._session: ClientSession | None = None
        site.on_close(self.close)

    def open(self) -> ClientSession:
        """The session; needs the running loop."""
        if self._session is None:
            # Each sink bounds itself; cookies of one action are none of another's business.
            self._session = ClientSession(connector=TCPConnector(limit=0), cookie_jar=DummyCookieJar())
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()


class HttpSink:
    """Actions to one URL template. Requests overlap, so the engine keeps a key's order by waiting."""

    ordered = False

    def __init__(self, endpoint: Http, site: Site) -> None:
        self.problem: str | None = "not open"
        self._method = endpoint.method
        self._timeout = seconds(endpoint.timeout)
        self._hold = seconds(endpoint.hold)
        self._shared = site.share("http session", lambda: HttpSession(site))
        self._queue: deque[Message] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, settled: Settled) -> None:
        """Nothing is asked of the other side: a third party that is away does not keep a pipeline from starting."""
        self._session = self._shared.open()
        self._limits = ClientTimeout(total=self._timeout)
        self._tally = Tally(settled)
        self._loop = asyncio.get_running_loop()
        self._leaving: asyncio.Future[None] = self._loop.create_future()
        self.problem = None

    def send(self, messages: Sequence[Message]) -> None:
        self._tally.left += len(messages)
        self._queue.extend(messages)
        for _ in range(min(len(messages), CONCURRENT - len(self._tasks))):
            task = self._loop.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def flush(self) -> None:
        if self.problem != "not open":
            await self._tally.flush()

    async def close(self) -> None:
        """Finish what is under way; what would have to wait for another attempt is given back as `Unavailable`."""
        if self.problem == "not open":
            return
        if not self._leaving.done():
            self._leaving.set_result(None)
        await self.flush()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _work(self) -> None:
        """Send from the queue until it is empty."""
        while self._queue:
            message = self._queue.popleft()
            try:
                await self._deliver(message)
            except (Unavailable, Undeliverable) as error:
                self._tally.settle(message, error)
            except asyncio.CancelledError:
                self._tally.settle(message, Unavailable(_host(message.to), "cancelled"))
                raise
            except Exception as error:  # what aiohttp does not foresee is this message's own
                self._tally.settle(message, Undeliverable(f"{self._method} {message.to}: {error!r}"))
            else:
                self._tally.settle(message)

    async def _deliver(self, message: Message) -> None:
        """Send one message, again and again while that may help and `hold` is not over."""
        headers = self._headers(message)
        end, wait = self._loop.time() + self._hold, FIRST
        while True:
            try:
                reason, after = await self._attempt(message, headers)
                self.problem = None
                if not reason:
                    return
            except (InvalidURL, NonHttpUrlClientError, ValueError) as error:
                raise Undeliverable(f"{self._method} {message.to}: {str(error) or type(error).__name__}") from None
            except (ClientError, OSError, TimeoutError) as error:
                reason, after = (
                    (f"no answer in {self._timeout:g} s" if isinstance(error, TimeoutError) else str(error)),
                    0.0,
                )
                self.problem = f"{_host(message.to)}: {reason}"
            pause = max(wait * (1 - random.random() / 2), after)
            if self._leaving.done() or self._loop.time() + pause > end:
                raise Unavailable(_host(message.to), reason)
            await asyncio.wait([self._leaving], timeout=pause)
            wait = min(wait * 2, LONGEST)

    async def _attempt(self, message: Message, headers: dict[str, str]) -> tuple[str, float]:
        """One request: why to try again and after how many seconds, or an empty reason. Raises `Undeliverable`."""
        request = self._session.request(
            self._method, message.to, data=message.value, headers=headers, timeout=self._limits, allow_redirects=False
        )
        async with request as response:
            status = response.status
            if 200 <= status < 300:
                with suppress(ClientError, OSError, TimeoutError):  # it is confirmed, whatever its body does
                    await response.content.read(SAID)
                return "", 0.0
            said = (await response.content.read(SAID)).decode("utf-8", "replace").strip()
            reason = f"{status} {response.reason or ''} {said}".strip()
            if status >= 500 or status in AGAIN:
                return reason, retry_after(response.headers.get("Retry-After", ""))
            if 300 <= status < 400:
                reason = f"{status} redirects to {response.headers.get('Location', 'nowhere')}: write that URL"
            raise Undeliverable(f"{self._method} {message.to}: {reason}")

    def _headers(self, message: Message) -> dict[str, str]:
        headers = {"content-type": cloudevents.JSON} if message.value is not None else {}
        if message.headers:
            headers.update((name.lower(), value) for name, value in message.headers.items())
        headers.update(cloudevents.write(message, "ce-"))
        if message.key:
            headers["ce-partitionkey"] = cloudevents.encoded(message.key.decode("utf-8", "replace"))
        if message.id:
            headers["idempotency-key"] = cloudevents.encoded(message.id)
        return headers


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2] or url


def retry_after(said: str) -> float:
    """The seconds that a `Retry-After` asks for, which may be a date; 0.0 where it says neither.

    >>> retry_after("120")
    120.0
    """
    if said.isascii() and said.isdigit():
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
