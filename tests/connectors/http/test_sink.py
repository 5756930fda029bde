"""HTTP calls as a sink, against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from penstock.connectors import Message, Settings, Sink, Site
from penstock.connectors.http.endpoint import Http
from penstock.connectors.http.sink import CONCURRENT, HttpSink, retry_after
from penstock.errors import Unavailable, Undeliverable
from tests.connectors.contract import SinkContract, SinkOutageContract
from tests.connectors.http.rig import HttpSinkRig
from tests.connectors.rig import Ledger, Record, until


@pytest.fixture
async def called() -> AsyncIterator[HttpSinkRig]:
    rig = HttpSinkRig()
    await rig.up()
    yield rig
    await rig.close()


class TestHttpSink(SinkContract):
    @pytest.fixture
    def rig(self, called: HttpSinkRig) -> HttpSinkRig:
        return called


class TestHttpSinkOutage(SinkOutageContract):
    @pytest.fixture
    def rig(self, called: HttpSinkRig) -> HttpSinkRig:
        return called

    async def test_opening_without_a_server_says_so(self, rig: HttpSinkRig) -> None:  # type: ignore[override]
        """Opening asks nothing of a third party; what is sent waits for it."""
        await rig.down()
        async with sending(rig.endpoint) as (sink, _):
            assert sink.problem is None


@asynccontextmanager
async def sending(endpoint: Http) -> AsyncIterator[tuple[Sink, Ledger]]:
    site, ledger = Site(Settings({})), Ledger()
    sink = endpoint.sink(site)
    await sink.open(ledger.settled)
    yield sink, ledger
    await sink.close()
    await site.close()


class TestWhatIsSent:
    async def test_headers_and_method(self, called: HttpSinkRig) -> None:
        async with sending(Http(called.to, method="PUT")) as (sink, ledger):
            sink.send(
                [
                    Message(
                        called.to, b"<a/>", id="ä 1", key=b"k", headers={"Content-Type": "text/xml", "tenant": "blue"}
                    )
                ]
            )
            sink.send([Message(called.to, None, id="2")])
            await sink.flush()
            assert ledger.once(2)
            one, other = sorted(await called.received(2), key=lambda record: record.value or b"", reverse=True)
            assert (one.headers["idempotency-key"], one.headers["content-type"]) == ("%C3%A4%201", "text/xml")
            assert (one.headers["ce-partitionkey"], one.headers["tenant"]) == ("k", "blue")
            assert other.value == b""

    async def test_what_may_work_later_is_tried_again(
        self, called: HttpSinkRig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("penstock.connectors.http.sink.FIRST", 0.001)
        said = iter([500, 502, 503, 429, 408, 425])

        async def answer(_: web.BaseRequest, record: Record) -> web.Response:
            status = next(said, 200)
            if status == 200:
                called.records.append(record)
            return web.Response(status=status, headers={"Retry-After": "0"}, text="no")

        called.answer = answer
        async with sending(called.endpoint) as (sink, ledger):
            sink.send([Message(called.to, b"1", id="1")])
            await sink.flush()
            assert ledger.once(1) and len(called.records) == 1
            assert next(said, None) is None

    @pytest.mark.parametrize(
        ("status", "reason"), [(400, "400 Bad Request because"), (404, "404"), (307, "redirects to /other")]
    )
    async def test_what_is_refused_is_undeliverable(self, called: HttpSinkRig, status: int, reason: str) -> None:
        async def answer(_: web.BaseRequest, record: Record) -> web.Response:
            return web.Response(status=status, text="because", headers={"Location": "/other"})

        called.answer = answer
        async with sending(called.endpoint) as (sink, ledger):
            sink.send([Message(called.to, b"1", id="1")])
            await sink.flush()
            [error] = ledger.outcomes["1"]
            assert isinstance(error, Undeliverable) and reason in str(error) and called.to in str(error)
            assert sink.problem is None

    async def test_time_out(self, called: HttpSinkRig) -> None:
        released = asyncio.Event()

        async def answer(_: web.BaseRequest, record: Record) -> web.Response:
            await released.wait()
            return web.Response()

        called.answer = answer
        async with sending(Http(called.to, timeout="50ms", hold="0s")) as (sink, ledger):
            sink.send([Message(called.to, b"1", id="1")])
            await sink.flush()
            [error] = ledger.outcomes["1"]
            assert isinstance(error, Undeliverable) and "no answer in 0.05 s (tried for 0 s)" in str(error)
            assert sink.problem is None, "one key alone is no outage"
            released.set()

    async def test_what_http_cannot_carry_is_undeliverable(self, called: HttpSinkRig) -> None:
        async with sending(called.endpoint) as (sink, ledger):
            wrong = [
                Message("http://", b"1", id="url"),
                Message(called.to, b"1", id="header", headers={"a": "b\r\nc: d"}),
            ]
            sink.send([*wrong, Message("ftp://host/a", b"1", id="scheme"), Message(called.to, b"1", id="good")])
            await sink.flush()
            assert ledger.confirmed() == {"good"}
            assert all(isinstance(ledger.outcomes[message.id][0], Undeliverable) for message in ledger.failed)
            assert len(ledger.failed) == 3

    async def test_requests_under_way_are_bounded(self, called: HttpSinkRig) -> None:
        released, running, most = asyncio.Event(), 0, 0

        async def answer(_: web.BaseRequest, record: Record) -> web.Response:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await released.wait()
            running -= 1
            return web.Response()

        called.answer = answer
        async with sending(called.endpoint) as (sink, ledger):
            sink.send([Message(called.to, b"1", id=str(number)) for number in range(CONCURRENT + 50)])
            await until(lambda: running == CONCURRENT)
            released.set()
            await sink.flush()
            assert ledger.once(CONCURRENT + 50) and most == CONCURRENT

    async def test_leaving_does_not_wait_for_another_attempt(self, called: HttpSinkRig) -> None:
        await called.down()
        async with sending(Http(called.to, hold="1h")) as (sink, ledger):
            assert isinstance(sink, HttpSink)
            sink.send([Message(called.to, b"%d" % number, id=str(number)) for number in range(150)])
            await until(lambda: sink.problem is not None)
            assert not ledger.outcomes, "they are held"
        assert len(ledger.outcomes) == 150
        assert all(isinstance(outcome, Unavailable) for [outcome] in ledger.outcomes.values())

    @pytest.mark.parametrize(
        ("said", "seconds"), [("", 0.0), ("3", 3.0), ("soon", 0.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)]
    )
    def test_retry_after(self, said: str, seconds: float) -> None:
        assert retry_after(said) == seconds

    def test_retry_after_a_date(self) -> None:
        assert retry_after("Fri, 31 Dec 9999 23:59:59 GMT") > 3600
