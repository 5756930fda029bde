"""A pipeline whose third party is away: reading pauses, for as long as was declared, and nothing is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from penstock import Pipeline, Retries, call
from penstock.connectors.http.endpoint import Http
from tests.connectors.http.rig import HttpSinkRig
from tests.pipeline.doubles import Memory, bench


class Order(msgspec.Struct, frozen=True):
    id: str
    customer: str


def decide(order: Order) -> Order:
    return order


def orders(prefix: str, count: int) -> list[bytes]:
    return [msgspec.json.encode(Order(f"{prefix}{number}", f"c{number}")) for number in range(count)]


@pytest.fixture
async def called(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HttpSinkRig]:
    monkeypatch.setattr("penstock.connectors.http.sink.FIRST", 0.01)
    monkeypatch.setattr("penstock.connectors.breaker.FIRST", 0.01)
    monkeypatch.setattr("penstock.connectors.breaker.LONGEST", 0.05)
    rig = HttpSinkRig("/block/{customer}")
    yield rig
    await rig.close()


def made(to: str, hold: str) -> Pipeline:
    pipeline = Pipeline("orders", concurrency=8)
    pipeline.source(Memory("in"), schema=Order, key="customer", id="id").act(decide, to=Http(to, hold=hold))
    return pipeline


async def test_reading_pauses_until_it_is_back(called: HttpSinkRig, caplog: pytest.LogCaptureFixture) -> None:
    host = f"http://127.0.0.1:{called.port}"
    async with bench(made(called.to, "1m")) as b:
        engine = b.engine
        b.topic("in").extend(orders("first", 30))
        await b.until(lambda: host in engine.outages.down)
        assert any(problem.startswith(f"{host} is not available: ") for problem in engine.problems())
        assert engine.statistics()["outage"] == {host: 1} and engine.statistics()["breaker"] == {host: 1.0}
        assert engine.gate.shut(engine.lanes[0]) and b.confirmed("in") == 0
        await called.up()
        b.topic("in").extend(orders("second", 30))
        await b.until(lambda: b.confirmed("in") == 60)
        assert engine.letters.written == 0 and not engine.problems() and not engine.gate.shut(engine.lanes[0])
        assert engine.statistics()["breaker"] == {host: 0.0}
        ids = [record.headers["ce-id"] for record in called.records]
        assert sorted(ids) == sorted(f"{name}{number}/decide" for name in ("first", "second") for number in range(30))
        assert all(record.headers["idempotency-key"].replace("%2F", "/") in ids for record in called.records)
    said = [record.getMessage() for record in caplog.records if host in record.getMessage()]
    assert "nothing new is read until it answers" in said[0] and "available again" in said[-1]


async def test_dead_letters_after_the_declared_time(called: HttpSinkRig) -> None:
    host = f"http://127.0.0.1:{called.port}"
    async with bench(made(called.to, "200ms")) as b:
        engine = b.engine
        b.topic("in").extend(orders("first", 30))
        await b.until(lambda: host in engine.outages.down)
        await b.until(lambda: engine.letters.written == 30 and b.confirmed("in") == 30)
        assert host not in engine.outages.down and not engine.problems(), "reading goes on"
        b.topic("in").extend(orders("second", 200))
        await b.until(lambda: b.confirmed("in") == 230)
        assert engine.letters.written == 230
        [(_, letter), *_] = await engine.letters.read(count=1)
        assert (letter.stage, letter.error) == ("decide", "Undeliverable") and "POST http://127.0.0.1" in letter.reason
        await called.up()
        sent = 230

        def answered() -> bool:
            nonlocal sent
            if b.confirmed("in") == sent:
                b.topic("in").extend(orders(f"probe{sent}-", 1))
                sent += 1
            return bool(called.records)

        await b.until(answered)
        await b.until(lambda: b.confirmed("in") == sent)
        written = engine.letters.written
        b.topic("in").extend(orders("third", 30))
        await b.until(lambda: b.confirmed("in") == sent + 30)
        assert engine.letters.written == written, "it closed by itself"


async def test_a_function_that_calls_one() -> None:
    away = True

    async def limit(order: Order) -> int:
        if away:
            raise ConnectionRefusedError("nobody there")
        return 7

    pipeline = Pipeline("orders", concurrency=8, retry=Retries(attempts=2, first="1ms"))
    stream = pipeline.source(Memory("in"), schema=Order, key="customer", id="id")
    stream.enrich(limit=call(limit, timeout="5s")).act(decide, to=Memory("out"))
    async with bench(pipeline) as b:
        engine = b.engine
        b.topic("in").extend(orders("", 50))
        await b.until(lambda: "limit()" in engine.outages.down)
        assert any("limit() is not available: ConnectionRefusedError" in problem for problem in engine.problems())
        assert engine.gate.shut(engine.lanes[0])
        away = False
        await b.until(lambda: b.confirmed("in") == 50)
        assert engine.letters.written == 0 and not engine.problems()
        assert len(b.topic("out")) == 50


async def test_a_function_that_meets_nobody_for_too_long(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("penstock.stages.streak.HOLD", 0.2)

    async def limit(order: Order) -> int:
        raise ConnectionRefusedError("nobody there")

    pipeline = Pipeline("orders", concurrency=8, retry=Retries(attempts=2, first="1ms"))
    stream = pipeline.source(Memory("in"), schema=Order, key="customer", id="id")
    stream.enrich(limit=call(limit, timeout="5s")).act(decide, to=Memory("out"))
    async with bench(pipeline) as b:
        b.topic("in").extend(orders("", 50))
        await b.until(lambda: b.confirmed("in") == 50)
        assert b.engine.letters.written == 50 and not b.engine.problems()
    assert "limit() is not available" in caplog.text
    assert "reading goes on: its events fail on their own" in caplog.text
    assert "available again" not in caplog.text, "nobody has answered"
