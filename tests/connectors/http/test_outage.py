"""A third party that misbehaves: one event's failure, everybody's, for a while, and for too long."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from penstock.connectors import Message, Settings, Site
from penstock.connectors.breaker import KEYS, Breaker
from penstock.connectors.http.endpoint import Http
from penstock.connectors.http.sink import CONCURRENT, HttpSink
from penstock.connectors.template import filler, part
from penstock.errors import Unavailable, Undeliverable
from tests.connectors.http.rig import HttpSinkRig
from tests.connectors.rig import Ledger, Record, until


class Watched:
    """What an engine would have been told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def report(self, dependency: str, error: Unavailable) -> None:
        self.told.append(("report", dependency))

    def clear(self, dependency: str) -> None:
        self.told.append(("clear", dependency))

    def lift(self, dependency: str, why: str) -> None:
        self.told.append(("lift", dependency))


class Called(HttpSinkRig):
    """A server that fails for the keys in `bad`, or for all; it counts attempts by key."""

    def __init__(self) -> None:
        super().__init__()
        self.bad: set[str] = set()
        self.all_bad = False
        self.status = 503
        self.headers: dict[str, str] = {}
        self.attempts: Counter[str] = Counter()
        self.answer = self._answer

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _answer(self, request: web.BaseRequest, record: Record) -> web.Response:
        key = record.headers["idempotency-key"]
        self.attempts[key] += 1
        if self.all_bad or key in self.bad:
            return web.Response(status=self.status, headers=self.headers, text="closed")
        self.records.append(record)
        return web.Response(status=204)


@pytest.fixture
async def called(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Called]:
    monkeypatch.setattr("penstock.connectors.http.sink.FIRST", 0.01)
    monkeypatch.setattr("penstock.connectors.breaker.FIRST", 0.01)
    monkeypatch.setattr("penstock.connectors.breaker.LONGEST", 0.05)
    rig = Called()
    await rig.up()
    yield rig
    await rig.close()


@asynccontextmanager
async def sending(endpoint: Http) -> AsyncIterator[tuple[HttpSink, Ledger, Watched]]:
    site, ledger, watched = Site(Settings({})), Ledger(), Watched()
    sink = endpoint.sink(site)
    sink.watch(watched)
    await sink.open(ledger.settled)
    yield sink, ledger, watched
    await sink.close()
    await site.close()


def messages(to: str, *names: str) -> list[Message]:
    return [Message(to, b"{}", id=name, key=name.encode()) for name in names]


def several(to: str, count: int, name: str = "m") -> list[Message]:
    return messages(to, *[f"{name}{number}" for number in range(count)])


class TestOneEvent:
    async def test_its_own_failure_is_nobody_elses(self, called: Called) -> None:
        called.bad = {"bad"}
        async with sending(Http(called.to, hold="600ms")) as (sink, ledger, watched):
            sink.send(messages(called.to, "bad"))
            for number in range(20):
                sink.send(several(called.to, 5, f"good{number}-"))
                await asyncio.sleep(0.01)
            await sink.flush()
            [error] = ledger.outcomes["bad"]
            assert isinstance(error, Undeliverable) and "503 Service Unavailable closed (tried for 0.6 s)" in str(error)
            assert called.attempts["bad"] > 2 and len(ledger.confirmed()) == 100
            assert watched.told == [] and sink.problem is None

    async def test_come_back_in_an_hour(self, called: Called) -> None:
        called.bad, called.headers = {"bad"}, {"Retry-After": "3600"}
        async with sending(Http(called.to, hold="100ms")) as (sink, ledger, watched):
            sink.send(messages(called.to, "bad", "good"))
            await sink.flush()
            assert isinstance(ledger.outcomes["bad"][0], Undeliverable)
            assert called.attempts["bad"] == 2, "at first, and when its time is over"
            assert ledger.confirmed() == {"good"} and watched.told == []

    async def test_come_back_in_a_second(self, called: Called) -> None:
        called.bad, called.headers, called.status = {"bad"}, {"Retry-After": "1"}, 429
        async with sending(Http(called.to, hold="1m")) as (sink, ledger, _):
            began = time.monotonic()
            sink.send(messages(called.to, "bad"))
            await until(lambda: called.attempts["bad"] == 1)
            called.bad.clear()
            await sink.flush()
            assert ledger.confirmed() == {"bad"} and time.monotonic() - began >= 0.95

    @pytest.mark.slow
    async def test_who_waits_makes_room(self, called: Called) -> None:
        called.bad = {f"bad{number}" for number in range(CONCURRENT + 20)}
        called.status = 503
        async with sending(Http(called.to, hold="1m")) as (sink, ledger, _):
            for number in range(CONCURRENT + 20):
                sink.send(messages(called.to, f"bad{number}", f"good{number}"))
                await until(lambda number=number: f"good{number}" in ledger.confirmed())
            assert len(ledger.confirmed()) == CONCURRENT + 20
            called.bad.clear()
            await sink.flush()
            assert len(ledger.confirmed()) == 2 * (CONCURRENT + 20)


class TestEverybody:
    async def test_an_outage_opens_it_and_an_answer_closes_it(self, called: Called) -> None:
        called.all_bad = True
        async with sending(Http(called.to, hold="1m")) as (sink, ledger, watched):
            sink.send(several(called.to, 300))
            await until(lambda: bool(watched.told))
            assert watched.told == [("report", called.host)]
            assert sink.problem is not None and called.host in sink.problem and "503" in sink.problem
            before = called.attempts.total()
            await asyncio.sleep(0.2)
            assert called.attempts.total() - before < 100, "probes alone"
            assert max(called.attempts.values()) <= 4, "each by another one"
            called.all_bad = False
            await sink.flush()
            assert ledger.once(300) and watched.told == [("report", called.host), ("clear", called.host)]
            assert sink.problem is None

    @pytest.mark.parametrize("how", ["refused", "silent"])
    async def test_connections_and_time_outs_count_too(self, called: Called, how: str) -> None:
        async def silent(_: web.BaseRequest, record: Record) -> web.Response:
            await asyncio.sleep(0.3)
            return web.Response(status=204)

        if how == "refused":
            await called.down()
        else:
            called.answer = silent
        async with sending(Http(called.to, hold="1m", timeout="50ms")) as (sink, ledger, watched):
            sink.send(several(called.to, 10))
            await until(lambda: bool(watched.told))
            called.answer = None
            if how == "refused":
                await called.up()
            await sink.flush()
            assert ledger.once(10) and watched.told[-1] == ("clear", called.host)

    async def test_a_bad_one_does_not_keep_it_open(self, called: Called) -> None:
        called.all_bad = True
        async with sending(Http(called.to, hold="1m")) as (sink, ledger, watched):
            sink.send(messages(called.to, *[f"bad{number}" for number in range(KEYS + 1)], "good"))
            await until(lambda: bool(watched.told))
            called.bad, called.all_bad = {f"bad{number}" for number in range(KEYS + 1)}, False
            await until(lambda: "good" in ledger.confirmed())
            assert watched.told[:2] == [("report", called.host), ("clear", called.host)]
            called.bad.clear()

    async def test_held_no_longer_than_declared(self, called: Called) -> None:
        called.all_bad = True
        async with sending(Http(called.to, hold="200ms")) as (sink, ledger, watched):
            sink.send(several(called.to, 300))
            await sink.flush()
            assert len(ledger.outcomes) == 300
            assert all(isinstance(outcome, Undeliverable) for [outcome] in ledger.outcomes.values())
            assert watched.told == [("report", called.host), ("lift", called.host)]
            assert sink.problem is None, "nobody is held any more"
            assert sink.breakers[called.host].opened is not None
            before, began = called.attempts.total(), time.process_time()
            sink.send(several(called.to, 5000, "late"))
            await sink.flush()
            each = (time.process_time() - began) / 5000
            assert each < 0.0005, f"{each * 1e6:.0f} us an event"
            assert called.attempts.total() - before < 500, "no connection but for probes"
            assert "(not tried)" in str(ledger.outcomes["late4999"][0])
            called.all_bad = False

            async def answered() -> bool:
                sink.send(messages(called.to, f"after{time.monotonic_ns()}"))
                await sink.flush()
                return bool(ledger.confirmed())

            await until(answered)
            assert watched.told[-1] == ("clear", called.host)
            sink.send(several(called.to, 50, "again"))
            await sink.flush()
            assert {f"again{number}" for number in range(50)} <= ledger.confirmed()

    async def test_refusals_are_answers(self, called: Called) -> None:
        called.all_bad, called.status = True, 400
        async with sending(Http(called.to)) as (sink, ledger, watched):
            sink.send(several(called.to, 50))
            await sink.flush()
            assert all(isinstance(outcome, Undeliverable) for [outcome] in ledger.outcomes.values())
            assert watched.told == [] and called.attempts.total() == 50

    async def test_hosts_are_told_apart(self, called: Called) -> None:
        other = Called()
        await other.up()
        called.all_bad = True
        async with sending(Http(called.to, hold="1m")) as (sink, ledger, watched):
            sink.send(several(called.to, 10))
            await until(lambda: bool(watched.told))
            sink.send(several(other.to, 10, "other"))
            await until(lambda: len(ledger.confirmed()) == 10)
            called.all_bad = False
            await sink.flush()
            assert ledger.once(20)
            assert set(sink.breakers) == {called.host, other.host}
        await other.close()


class TestBreaker:
    async def test_one_probe_at_a_time(self) -> None:
        breaker = Breaker("http://a")
        for key in range(KEYS - 1):
            breaker.failed(key, "no", probe=False, hold=60.0)
            breaker.failed(key, "no", probe=False, hold=60.0)
        assert breaker.turn().result() is False, "the same key again is no news"
        breaker.failed("other", "no", probe=False, hold=60.0)
        assert breaker.wary
        first, second = breaker.turn(), breaker.turn()
        assert first.result() is True and not second.done()
        breaker.failed("x", "still no", probe=True, hold=60.0)
        assert breaker.opened is not None and breaker.problem == "http://a: still no"
        assert await second is True, "its turn has come"
        third = breaker.turn()
        breaker.ended(probe=True)
        assert await third is True
        waiting = [breaker.turn() for _ in range(3)]
        waiting[0].cancel()
        breaker.succeeded()
        assert [await one for one in waiting[1:]] == [False, False]
        assert breaker.turn().result() is False and breaker.problem is None

    async def test_asking_an_open_one_costs_little(self) -> None:
        breaker = Breaker("http://a")
        for key in range(KEYS):
            breaker.failed(key, "no", probe=False, hold=0.0)
        breaker.failed(0, "no", probe=breaker.turn().result(), hold=0.0, after=60.0)
        await until(lambda: breaker.lifted)
        breaker._next = asyncio.get_running_loop().time() + 60.0
        began = time.process_time()
        for _ in range(10_000):
            turn = breaker.turn()
            assert isinstance(turn.exception(), Unavailable)
        assert (time.process_time() - began) / 10_000 < 50e-6
        breaker.close()


class TestUrls:
    async def test_what_fills_a_brace_cannot_leave_its_place(self, called: Called) -> None:
        seen: list[str] = []

        async def answer(request: web.BaseRequest, record: Record) -> web.Response:
            seen.append(request.raw_path)
            return web.Response(status=204)

        called.answer = answer
        fill = filler(f"{called.host}/cards/{{card}}/block?why={{why}}", part)
        values: list[dict[str, Any]] = [{"card": "a/../b?x=1#y", "why": "50% & more"}, {"card": "käse +", "why": 7}]
        async with sending(Http(called.to)) as (sink, ledger, _):
            for number, fields in enumerate(values):
                sink.send([Message(fill(fields), b"{}", id=str(number))])
                await sink.flush()
            assert ledger.once(2)
        assert seen == [
            "/cards/a%2F..%2Fb%3Fx=1%23y/block?why=50%25%20%26%20more",
            "/cards/k%C3%A4se%20%2B/block?why=7",
        ]

    @pytest.mark.parametrize("value", ["", ".", ".."])
    def test_what_would_lead_elsewhere(self, value: str) -> None:
        with pytest.raises(Undeliverable, match="would lead elsewhere"):
            filler("https://host/cards/{card}", part)({"card": value})
