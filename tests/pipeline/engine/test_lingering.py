"""Events that do not go on: found among many that do, and named."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from penstock import Pipeline, call
from penstock.pipeline.engine import lingering
from penstock.stages import lookup
from tests.pipeline.doubles import Memory, bench

Payload = dict[str, Any]

STUCK = {f"e{number}" for number in range(0, 300, 100)}


@pytest.mark.parametrize("form", ["alone", "beside another"])
async def test_what_never_returns_is_told_of_with_its_stage(
    form: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering, "LOOK", 0.02)
    free = asyncio.Event()

    async def slow(payload: Payload) -> Payload:
        if payload["id"] in STUCK:
            await free.wait()
        return payload

    made = Pipeline("stuck")
    stream = made.source(Memory("in"), schema=Payload, key="id", id="id")
    if form == "alone":
        stream = stream.transform(slow)
    else:
        stream = stream.enrich(found=call(slow), known=lookup("card:{id}", int, default=0))
    stream.act(dict, to=Memory("out"))
    stage = "slow" if form == "alone" else "enrich(found,known)"
    async with bench(made) as b:
        for number in range(300):
            b.topic("in").put(b'{"id": "e%d"}' % number)
        await b.until(lambda: len(b.topic("out")) == 297)
        assert b.engine.lingering.standing() == f"3 in {stage}"
        monkeypatch.setattr(lingering, "LONG", 0.05)
        await b.until(lambda: "for more than" in caplog.text)
        free.set()
        await b.until(lambda: len(b.topic("out")) == 300)
        assert b.engine.lingering.standing() == ""
    told = [record.getMessage() for record in caplog.records if "for more than" in record.getMessage()]
    counts = [1 if line.startswith("event ") else int(line.split()[0]) for line in told]
    assert sum(counts) == 3, "each once"
    assert all(f" been in {stage} for" in line and any(f" {one}" in line for one in STUCK) for line in told)


async def test_what_goes_on_is_not_told_of(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lingering, "LOOK", 0.001)
    monkeypatch.setattr(lingering, "LONG", 60.0)

    async def later(payload: Payload) -> Payload:
        await asyncio.sleep(0.001)
        return payload

    made = Pipeline("flows")
    made.source(Memory("in"), schema=Payload, key="id", id="id").transform(later).act(dict, to=Memory("out"))
    async with bench(made) as b:
        for number in range(1_000):
            b.topic("in").put(b'{"id": "e%d"}' % (number % 50))
        await b.until(lambda: len(b.topic("out")) == 1_000)
    assert "for more than" not in caplog.text


async def test_what_does_not_finish_at_the_stop_is_named(caplog: pytest.LogCaptureFixture) -> None:
    async def slow(payload: Payload) -> Payload:
        await asyncio.Event().wait()
        return payload

    made = Pipeline("stuck")
    made.source(Memory("in"), schema=Payload, key="id", id="id").transform(slow).act(dict, to=Memory("out"))
    b = bench(made)
    await b.engine.start()
    b.topic("in").put(b'{"id": "e0"}')
    await b.until(lambda: b.engine.lingering.standing() == "1 in slow")
    await b.engine.stop(grace=0.05)
    assert "1 events did not finish in 0 s (1 in slow): they come again" in caplog.text
