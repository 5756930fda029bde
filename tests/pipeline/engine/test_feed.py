"""What waits behind its key, what overtakes, and when so much waits that nothing more is read."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import msgspec
import pytest

from penstock import (
    Retries,
)
from penstock.connectors import Settings, Site
from penstock.connectors.store.memory import MemoryStore
from penstock.connectors.topics import Topics
from penstock.pipeline.clock import ManualClock
from penstock.pipeline.engine.engine import Engine
from penstock.pipeline.testing.harness import harness
from tests.pipeline.doubles import Bench, Memory, bench
from tests.pipeline.steps import Step, encoded, pipeline


async def test_actions_of_a_key_come_in_order_and_other_keys_overtake(form: str) -> None:
    made, stream = pipeline(form, retry=Retries(attempts=5, first="1ms", longest="2ms"))
    tried: set[int] = set()

    def fails_once(step: Step) -> Step:
        if step.fate == "slow" and step.id not in tried:
            tried.add(step.id)
            raise ValueError("once")
        return step

    stream.transform(fails_once).act(lambda step: step, to=Memory("out"), stage="pass")
    steps = [Step(number, f"k{number % 5}", "slow" if number % 11 == 0 else "") for number in range(500)]
    async with bench(made) as b:
        b.topic("in").extend(encoded(*steps))
        await b.until(lambda: b.confirmed("in") == 500)
        ids = [msgspec.json.decode(one.value)["id"] for one in b.topic("out").entries()]
    by_key: dict[int, list[int]] = defaultdict(list)
    for number in ids:
        by_key[number % 5].append(number)
    assert all(numbers == sorted(numbers) for numbers in by_key.values())
    assert ids != sorted(ids)
    assert len(ids) == 500


async def test_a_failing_key_waits_and_the_others_go_on(form: str) -> None:
    made, stream = pipeline(form, retry=Retries(attempts=2, first="10s", longest="10s"))
    seen: list[int] = []

    def failing(step: Step) -> int:
        if step.fate == "fails" and step.id not in seen:
            seen.append(step.id)
            raise RuntimeError("once")
        return step.id

    stream.act(failing, to=Memory("out"))
    async with harness(made) as h:
        assert not (await h.send(Step(1, "a", "fails"))).finished
        assert not (await h.send(Step(2, "a"))).finished
        assert (await h.send(Step(3, "b"))).actions == [3]
        await h.advance("30s")
        assert h.actions(failing) == [3, 1, 2]


async def test_a_key_that_waits_for_long_stops_the_reading(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.pipeline.engine.feed.PARKED", 100)
    made, stream = pipeline(form, retry=Retries(attempts=2, first="1s", longest="1s"))
    failed: list[int] = []

    def once(step: Step) -> int:
        if not failed:
            failed.append(step.id)
            raise ValueError("once")
        return step.id

    stream.act(once, to=Memory("out"))
    clock, site = ManualClock(), Site(Settings({}), pipeline="steps")
    b = Bench(Engine(made.build(), site, MemoryStore(), clock=clock), Topics.of(site), site)
    async with b:
        b.topic("in").extend(encoded(*(Step(number, "k") for number in range(20_000))))
        await b.until(lambda: b.engine.lanes[0].feed.full)
        for _ in range(100):
            await asyncio.sleep(0)
        assert b.engine.lanes[0].feed.parked <= 100 + 1024
        clock.advance(2.0)
        await b.until(lambda: b.confirmed("in") == 20_000)
        assert [msgspec.json.decode(one.value) for one in b.topic("out").entries()] == list(range(20_000))


@pytest.mark.parametrize("order", ["partition", "none"])
async def test_other_orders(form: str, order: Any) -> None:
    made, stream = pipeline(form, order=order, retry=Retries(attempts=2, first="1ms", longest="1ms"))
    failed: list[int] = []

    def once(step: Step) -> int:
        if step.id == 0 and not failed:
            failed.append(step.id)
            raise RuntimeError("once")
        return step.id

    stream.act(once, to=Memory("out"))
    async with bench(made) as b:
        b.topic("in").extend(encoded(*(Step(number, f"k{number % 2}") for number in range(20))))
        await b.until(lambda: b.confirmed("in") == 20)
        ids = [msgspec.json.decode(one.value) for one in b.topic("out").entries()]
    assert sorted(ids) == list(range(20))
    assert (ids == list(range(20))) is (order == "partition")
