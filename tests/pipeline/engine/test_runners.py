"""Loops, waves and slots: what runs, in which form, how much of it at once."""

from __future__ import annotations

import asyncio

import msgspec

from penstock import (
    Pipeline,
)
from penstock.pipeline.testing.harness import harness
from tests.pipeline.doubles import Asking, Memory, bench
from tests.pipeline.steps import Step, encoded, later, pipeline, same


async def test_it_compiles_to_the_form(form: str) -> None:
    made, stream = pipeline(form)
    stream.end()
    async with harness(made) as h:
        assert h.engine.lanes[0].program.form == form


async def test_every_event_is_acted_on_and_confirmed(form: str) -> None:
    made, stream = pipeline(form)
    stream.act(lambda step: step, to=Memory("out"), stage="pass")
    async with bench(made) as b:
        b.topic("in").extend(encoded(*(Step(number, f"k{number % 7}") for number in range(3000))))
        await b.until(lambda: b.confirmed("in") == 3000)
        assert sorted(msgspec.json.decode(one.value)["id"] for one in b.topic("out").entries()) == list(range(3000))


async def test_several_sources_of_one_lane_are_all_read_on(form: str) -> None:
    made = Pipeline("several", concurrency=4)
    source = made.source(Memory("one"), Memory("two"), Memory("three"), schema=Step, key="key", id="id")
    stream = source.enrich(asked=Asking(lambda step: step.id)) if form == "wave" else source
    stream.transform(later if form == "slot" else same).end()
    async with bench(made) as b:
        for number in range(30):
            for name in ("one", "two", "three"):
                b.topic(name).extend(encoded(*(Step(number * 10 + place, f"k{place}") for place in range(10))))
            await asyncio.sleep(0)
        await b.until(lambda: sum(b.confirmed(name) for name in ("one", "two", "three")) == 900)


async def test_no_more_than_concurrency_run_at_once() -> None:
    running, most = [0], [0]

    async def busy(step: Step) -> Step:
        running[0] += 1
        most[0] = max(most[0], running[0])
        await asyncio.sleep(0.001)
        running[0] -= 1
        return step

    made = Pipeline("bounded", concurrency=8)
    made.source(Memory("in"), schema=Step, key="key").transform(busy).end()
    async with bench(made) as b:
        b.topic("in").extend(encoded(*(Step(number, f"k{number}") for number in range(200))))
        await b.until(lambda: b.confirmed("in") == 200)
    assert most[0] == 8
