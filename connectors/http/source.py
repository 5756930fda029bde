"""HTTP paths as a source: a request is a batch, and its answer waits until the batch is finished."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiohttp.web import BaseRequest, Response

from penstock.connectors.batch import Batch, Partition, Refusal
from penstock.connectors.bell import Bell
from penstock.connectors.duration import seconds
from penstock.connectors.http.answer import LINES, answer, answer_lines, problem
from penstock.connectors.http.body import body_of
from penstock.connectors.http.repeats import Kept, Repeats
from penstock.connectors.http.request import Exchange, HttpBatch, batches, kind_of
from penstock.connectors.http.server import http_server
from penstock.connectors.site import Site
from penstock.errors import BadEvent, Unavailable

if TYPE_CHECKING:
    from penstock.connectors.http.endpoint import Http

WAITING = 1024  # requests that may wait for the engine before others are turned away
WAITING_BYTES = 64 * 1024 * 1024  # what they may hold, with RECORD for each of their events
RECORD = 64
QUIET = 1.0  # seconds without the engine taking anything, after which it is not load that fills the queue


class HttpSource:
    """One path. Bounded: what comes faster than the engine takes it is turned away with 429, and with 503 while it
    takes nothing at all.

    - `refused`: events that were refused to their senders, by status.
    - `turned_away`: requests of which nothing was begun, by status.
    """

    def __init__(self, endpoint: Http, site: Site) -> None:
        self.problem: str | None = "not open"
        self.path = endpoint.path_or_url
        self.method = endpoint.method
        self.refused: Counter[int] = Counter()
        self.turned_away: Counter[int] = Counter()
        self._site = site
        self._timeout = seconds(endpoint.timeout)
        self._hold = seconds(endpoint.hold)
        self._server = http_server(site)
        self._server.expect(self.path)
        self._partition = Partition(self.path)
        self._stopped = False
        self._bell = Bell()
        self._ready: list[Exchange] = []
        self._bytes = 0
        self._taken = 0.0
        self._running: set[HttpBatch] = set()
        self._looking = False
        # Who is told by when, the oldest first: one timer looks after all of them.
        self._deadlines: dict[asyncio.Future[bool], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        scope = f"penstock:{self._site.group}:http:{self.method} {self.path}"
        self._repeats = Repeats(scope, self._hold, self._site.store)
        self._server.add(self)
        await self._server.open()
        self.problem = None

    async def receive(self) -> Sequence[Batch]:
        while not self._ready and not self._stopped:
            await self._bell.wait()
        if self._stopped:
            return []
        ready, self._ready = self._ready, []
        self._bytes = 0
        self._taken = self._loop.time()
        found = batches(self._partition, ready, self._changed)
        self._running.update(found)
        return found

    def stop(self) -> None:
        self._stopped = True
        self.problem = "stopping"
        ready, self._ready = self._ready, []
        for exchange in ready:
            self._give_up(exchange)
        self._bell.ring()

    async def confirm(self) -> None:
        """Nothing to do: a request is answered as soon as it is finished."""

    async def close(self) -> None:
        if self.problem == "not open":
            return
        self.stop()
        for batch in self._running:
            for exchange in batch.open:
                self._give_up(exchange)
        self._running.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._server.remove(self)
        await self._repeats.close()

    def lag(self) -> int | None:
        return None

    async def handle(self, request: BaseRequest, captures: dict[str, str]) -> Response:
        """Take one request, and answer it when it is finished. Raises `BadEvent` for what cannot be taken."""
        try:
            headers = request.headers
            kind = kind_of(headers.get("Content-Type", ""))
            turned_away = self._turned_away()
            if turned_away is not None:
                return turned_away
            body = await body_of(request, self._server.limit)
            exchange = Exchange(kind, body, headers, request.path, captures, self._loop.time())
            known = self._repeats.find(exchange) if exchange.key else None
        except BadEvent as error:
            self.turned_away[error.status] += 1
            raise
        if known is not None:
            return known.response() if isinstance(known, Kept) else await self._wait(known)
        if not exchange.values:
            return Response(body=b"", content_type=LINES)
        turned_away = self._turned_away()
        if turned_away is not None:  # the queue filled while the body was read
            return turned_away
        if exchange.key:
            self._repeats.begin(exchange)
            if exchange.declared and self._site.store is not None:
                answered = await self._claim(exchange)
                if answered is not None:
                    return answered
        self._ready.append(exchange)
        self._bytes += _size(exchange)
        self._bell.ring()
        return await self._wait(exchange)

    async def _claim(self, exchange: Exchange) -> Response | None:
        """None where the request is ours to run, else what there is to say; those who have joined it are told too."""
        answer = None
        try:
            kept = await self._repeats.claim(exchange, self._loop.time() + self._timeout)
            if kept is not None:
                exchange.answer = kept.response
            elif self._stopped:
                answer = self._refuse(503, "stopping: send it again")
            else:
                return None
        except BadEvent as error:
            self.turned_away[error.status] += 1
            answer = problem(error.status, error.reason)
        except TimeoutError:
            answer = self._refuse(503, "another process still works on it: send it again with the same Idempotency-Key")
        except Unavailable as error:
            answer = self._refuse(503, f"whether it came before cannot be told ({error}): send it again", QUIET)
        except BaseException:  # a repeat must not join what never ends
            self._repeats.end(exchange, None)
            self._give_up(exchange)
            raise
        self._repeats.end(exchange, None)
        self._give_up(exchange)
        return answer or _say(exchange)

    def _turned_away(self) -> Response | None:
        if self._stopped:
            return self._refuse(503, "stopping: send it again")
        if len(self._ready) < WAITING and self._bytes < WAITING_BYTES:
            return None
        if self._loop.time() - self._taken < QUIET:
            return self._refuse(429, "busy: as much waits as can be taken in, send it again", QUIET)
        return self._refuse(503, "nothing is taken in at the moment: send it again", self._timeout)

    def _refuse(self, status: int, reason: str, retry_after: float | None = None) -> Response:
        self.turned_away[status] += 1
        return problem(status, reason, retry_after=retry_after)

    async def _wait(self, exchange: Exchange) -> Response:
        """The answer when the request is finished, or that it is not, when the time is up."""
        waiter: asyncio.Future[bool] = self._loop.create_future()
        exchange.waiters.append(waiter)
        self._deadlines[waiter] = self._loop.time() + self._timeout
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout, self._sweep)
        try:
            finished = await waiter
        finally:
            self._deadlines.pop(waiter, None)
        if finished or exchange.answer is not None:
            return _say(exchange)
        if self._stopped:
            return problem(503, "stopping before it was finished: send it again")
        if exchange.batch is None:
            self._withdraw(exchange)
            return self._refuse(503, "busy: it was not begun in time, send it again")
        if exchange.many:
            return answer_lines(exchange.batch, late=True)
        return problem(503, "not finished in time; it goes on: send it again with the same Idempotency-Key")

    def _withdraw(self, exchange: Exchange) -> None:
        """Do not begin what nobody waits for: its sender comes again."""
        if exchange in self._ready and all(waiter.done() for waiter in exchange.waiters):
            self._ready.remove(exchange)
            self._bytes -= _size(exchange)
            self._repeats.end(exchange, None)

    def _sweep(self) -> None:
        """Tell those whose time is up. Processing goes on."""
        self._timer = None
        now = self._loop.time()
        while self._deadlines:
            waiter, deadline = next(iter(self._deadlines.items()))
            if deadline > now:
                self._timer = self._loop.call_at(deadline, self._sweep)
                return
            del self._deadlines[waiter]
            if not waiter.done():
                waiter.set_result(False)

    def _changed(self, batch: Batch) -> None:
        assert isinstance(batch, HttpBatch)
        if not batch.left:
            self._running.discard(batch)
            ended, batch.open = batch.open, []
            for exchange in ended:
                self._end(exchange)
        elif len(batch.open) > 1 and not self._looking:
            self._looking = True
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        """Answer what has ended in batches that have not."""
        self._looking = False
        for batch in self._running:
            ended = [exchange for exchange in batch.open if not batch.owed[exchange.index]]
            if ended and len(batch.exchanges) > 1:
                batch.open = [exchange for exchange in batch.open if batch.owed[exchange.index]]
                for exchange in ended:
                    self._end(exchange)

    def _end(self, exchange: Exchange) -> None:
        later = self._count(exchange)
        if exchange.key:
            self._repeats.end(exchange, None if later else _say(exchange))
        for waiter in exchange.waiters:
            if not waiter.done():
                waiter.set_result(True)

    def _count(self, exchange: Exchange) -> bool:
        """Count what is refused of a request; whether any of it may succeed another time."""
        assert exchange.batch is not None
        answers, first, later = exchange.batch.answers, exchange.index, False
        if not answers:
            return False
        for index in range(first, first + len(exchange.values)):
            found = answers.get(index)
            if isinstance(found, Refusal):
                self.refused[found.status] += 1
                later = later or found.status >= 500 or found.status == 429
        return later

    def _give_up(self, exchange: Exchange) -> None:
        """Nobody is told any more how this ends."""
        for waiter in exchange.waiters:
            if not waiter.done():
                waiter.set_result(False)


def _size(exchange: Exchange) -> int:
    return len(exchange.body) + RECORD * len(exchange.values)


def _say(exchange: Exchange) -> Response:
    if exchange.answer is not None:
        return exchange.answer()
    assert exchange.batch is not None
    return answer_lines(exchange.batch) if exchange.many else answer(exchange.batch, exchange.index)
