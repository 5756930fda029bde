"""HTTP calls as a sink: one session per process, tried again while that may help, held back while it does not."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from aiohttp import ClientError, ClientTimeout, InvalidURL, NonHttpUrlClientError

from penstock.connectors.breaker import Breaker, Watcher
from penstock.connectors.cloudevents.modes import write
from penstock.connectors.duration import seconds
from penstock.connectors.event import Message
from penstock.connectors.header import JSON, encoded
from penstock.connectors.http.session import HttpSession
from penstock.connectors.protocol import Settled
from penstock.connectors.site import Site
from penstock.connectors.tally import Tally
from penstock.errors import Unavailable, Undeliverable

if TYPE_CHECKING:
    from penstock.connectors.http.endpoint import Http

CONCURRENT = 100  # requests under way at once, per sink
FIRST, LONGEST = 0.1, 10.0  # seconds between attempts
AGAIN = {408, 425, 429}  # beside 5xx: answers that may be another one later
SAID = 300  # characters of a refusal's body that are kept


class Delivery:
    """One message on its way: until when it is tried, and how long it rests before the next attempt."""

    __slots__ = ("end", "message", "reason", "wait")

    def __init__(self, message: Message) -> None:
        self.message = message
        self.end = 0.0
        self.wait = FIRST
        self.reason = ""


class HttpSink:
    """Actions to one URL template. Requests overlap, so the engine keeps a key's order by waiting.

    What fails is tried again for `hold`, and is then undeliverable: the event's own failure. Where it fails for
    everybody, the host's breaker holds all of them, and tells `watch`.
    """

    ordered = False

    def __init__(self, endpoint: Http, site: Site) -> None:
        self._opened = False
        self._method = endpoint.method
        self._timeout = seconds(endpoint.timeout)
        self._hold = seconds(endpoint.hold)
        self._shared = site.share("http session", lambda: HttpSession(site))
        self._queue: deque[Delivery] = deque()
        self._resting: dict[Delivery, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._working = 0

    @property
    def problem(self) -> str | None:
        """None, or which hosts hold everything up and why."""
        if not self._opened:
            return "not open"
        return "; ".join(filter(None, (one.problem for one in self.breakers.values()))) or None

    @property
    def breakers(self) -> Mapping[str, Breaker]:
        """What is known of each host, by its name; the sinks of a pipeline have them in common."""
        return self._shared.breakers

    def watch(self, watcher: Watcher) -> None:
        """Tell of outages, from now on."""
        self._shared.watcher = watcher

    async def open(self, settled: Settled) -> None:
        """Nothing is asked of the other side: a third party that is away does not keep a pipeline from starting."""
        self._session = self._shared.open()
        self._limits = ClientTimeout(total=self._timeout)
        self._tally = Tally(settled)
        self._loop = asyncio.get_running_loop()
        self._leaving: asyncio.Future[None] = self._loop.create_future()
        self._opened = True

    def send(self, messages: Sequence[Message]) -> None:
        self._tally.left += len(messages)
        self._queue.extend([Delivery(message) for message in messages])
        self._employ(len(messages))

    async def flush(self) -> None:
        if self._opened:
            await self._tally.flush()

    async def close(self) -> None:
        """Finish what is under way; what would have to wait for another attempt is given back as `Unavailable`."""
        if not self._opened:
            return
        if not self._leaving.done():
            self._leaving.set_result(None)
        resting, self._resting = self._resting, {}
        for delivery, timer in resting.items():
            timer.cancel()
            self._tally.settle(delivery.message, Unavailable(self._shared.host(delivery.message.to), delivery.reason))
        await self.flush()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _employ(self, most: int) -> None:
        """Have up to so many more at work on the queue."""
        for _ in range(min(most, CONCURRENT - self._working)):
            self._working += 1
            task = self._loop.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        """Send from the queue until it is empty. What is to be tried again makes room for others meanwhile."""
        try:
            while self._queue:
                delivery = self._queue.popleft()
                message = delivery.message
                try:
                    done = await self._deliver(delivery)
                except (Unavailable, Undeliverable) as error:
                    self._tally.settle(message, error)
                except asyncio.CancelledError:
                    self._tally.settle(message, Unavailable(self._shared.host(message.to), "cancelled"))
                    raise
                except Exception as error:  # what aiohttp does not foresee is this message's own
                    self._tally.settle(message, self._refused(message, repr(error)))
                else:
                    if done:
                        self._tally.settle(message)
        finally:
            self._working -= 1  # at once: a task is in its set for a tick longer, and takes nothing from the queue

    async def _deliver(self, delivery: Delivery) -> bool:
        """Try to send one message: whether that is done, else it is tried again. Raises how it ended otherwise."""
        message = delivery.message
        breaker = self._shared.breaker(message.to)
        probe = await self._turn(breaker, message) if breaker.wary else False
        try:
            reason, after = await self._attempt(message)
        except Undeliverable:
            breaker.succeeded()
            raise
        except (InvalidURL, NonHttpUrlClientError, ValueError) as error:
            breaker.ended(probe=probe)
            raise self._refused(message, str(error) or type(error).__name__) from None
        except (ClientError, OSError, TimeoutError) as error:
            late = isinstance(error, TimeoutError)
            reason, after = f"no answer in {self._timeout:g} s" if late else str(error), 0.0
        except BaseException:
            breaker.ended(probe=probe)
            raise
        if not reason:
            breaker.succeeded()
            return True
        breaker.failed(message.key or message.id, reason, probe=probe, hold=self._hold, after=after)
        if self._leaving.done():
            raise Unavailable(breaker.name, reason)
        self._again(delivery, breaker, reason, after)
        return False

    def _again(self, delivery: Delivery, breaker: Breaker, reason: str, after: float) -> None:
        """Have a message tried again when there is a point in it. Raises `Undeliverable` where there is none."""
        delivery.reason = reason
        now = self._loop.time()
        if not delivery.end:
            delivery.end = now + self._hold
        left = delivery.end - now
        if breaker.opened is not None and not breaker.lifted:
            self._queue.append(delivery)  # it waits for its turn there
            return
        if breaker.lifted or left <= 0:
            raise self._refused(delivery.message, f"{reason} (tried for {self._hold:g} s)")
        # Who asks us to come back later than anybody is held for is asked once more at the end.
        pause = min(max(delivery.wait * (1 - random.random() / 2), after), left)
        delivery.wait = min(delivery.wait * 2, LONGEST)
        self._resting[delivery] = self._loop.call_later(pause, self._rested, delivery)

    def _rested(self, delivery: Delivery) -> None:
        del self._resting[delivery]
        self._queue.append(delivery)
        self._employ(1)

    async def _turn(self, breaker: Breaker, message: Message) -> bool:
        """Wait until an attempt makes sense; whether it is the probe. Raises `Unavailable` or `Undeliverable`."""
        turn = breaker.turn()
        if not turn.done():
            either: list[asyncio.Future[Any]] = [turn, self._leaving]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not turn.done():
            turn.cancel()
            raise Unavailable(breaker.name, breaker.reason)
        try:
            return turn.result()
        except Unavailable as error:
            raise self._refused(message, f"{error} (not tried)") from None

    def _refused(self, message: Message, reason: str) -> Undeliverable:
        return Undeliverable(f"{self._method} {message.to}: {reason}")

    async def _attempt(self, message: Message) -> tuple[str, float]:
        """One request: why to try again and after how many seconds, or an empty reason. Raises `Undeliverable`."""
        request = self._session.request(
            self._method,
            message.to,
            data=message.value,
            headers=self._headers(message),
            timeout=self._limits,
            allow_redirects=False,
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
            raise self._refused(message, reason)

    def _headers(self, message: Message) -> dict[str, str]:
        headers = {"content-type": JSON} if message.value is not None else {}
        if message.headers:
            headers.update((name.lower(), value) for name, value in message.headers.items())
        headers.update(write(message, "ce-"))
        if message.key:
            headers["ce-partitionkey"] = encoded(message.key.decode("utf-8", "replace"))
        if message.id:
            headers["idempotency-key"] = encoded(message.id)
        return headers


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
