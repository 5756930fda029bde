"""The engine as a whole: what it opens and closes, and what becomes of everything that comes in."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock import (
    Pipeline,
    Reject,
    Retries,
)
from penstock.pipeline.testing.harness import harness
from tests.pipeline.doubles import Memory, bench
from tests.pipeline.steps import FORMS, Step, encoded, pipeline


async def test_stopping_finishes_what_was_taken(form: str) -> None:
    made, stream = pipeline(form)
    stream.act(lambda step: step.id, to=Memory("out"), stage="pass")
    b = bench(made)
    async with b:
        b.topic("in").extend(encoded(*(Step(number, f"k{number % 3}") for number in range(700))))
        await b.until(lambda: b.engine.lanes[0].received > 0)
    assert b.confirmed("in") == b.engine.lanes[0].received == len(b.topic("out"))


async def test_resources_are_opened_once_and_closed() -> None:
    life: list[str] = []

    @asynccontextmanager
    async def client() -> AsyncIterator[str]:
        life.append("open")
        yield "client"
        life.append("closed")

    made = Pipeline("resources")
    made.resource(client=client)

    async def use(step: Step, client: str) -> str:
        return client

    made.source(Memory("in"), schema=Step).act(use, to=Memory("out"))
    async with harness(made) as h:
        assert (await h.send(Step(1, "a"))).actions == ["client"]
        assert (await h.send(Step(2, "b"))).actions == ["client"]
    assert life == ["open", "closed"]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["", "", "", "once", "reject", "late", "bad"])), max_size=60
    ),
    concurrency=st.integers(1, 9),
    form=st.sampled_from(FORMS),
    seed=st.integers(0, 2**16),
)
def test_whatever_comes_everything_has_one_outcome_and_keys_keep_their_order(
    steps: list[tuple[int, str]], concurrency: int, form: str, seed: int
) -> None:
    """In = acted + dead, each once; first actions of a key in order; all confirmed."""
    asyncio.run(_everything_has_one_outcome(steps, concurrency, form, random.Random(seed)))


async def _everything_has_one_outcome(
    steps: list[tuple[int, str]], concurrency: int, form: str, chance: random.Random
) -> None:
    made, stream = pipeline(form, concurrency=concurrency, retry=Retries(attempts=3, first="1ms", longest="2ms"))
    tried: set[int] = set()

    def decide(step: Step) -> int:
        if step.fate == "reject":
            raise Reject("no")
        if step.fate == "once" and step.id not in tried:
            tried.add(step.id)
            raise RuntimeError("once")
        return step.id

    async def maybe(step: Step) -> Step:
        for _ in range(chance.randrange(5)):
            await asyncio.sleep(0)
        return step

    if form == "slot":
        stream = stream.transform(maybe)
    stream.act(decide, to=Memory("out"))
    async with bench(made) as b:
        values = [
            b"{" if fate == "bad" else encoded(Step(number, f"k{key}", fate))[0]
            for number, (key, fate) in enumerate(steps)
        ]
        middle = len(values) // 2
        b.topic("in").extend(values[:middle])
        await asyncio.sleep(0)
        b.topic("in").extend(values[middle:])
        await b.until(lambda: b.confirmed("in") == len(steps))
        acted = [msgspec.json.decode(one.value) for one in b.topic("out").entries()]
        dead = [letter for _, letter in await b.engine.letters.read(count=1000)]
    assert len(acted) == len(set(acted))
    assert len(acted) + len(dead) == len(steps)
    assert {number for number, (_, fate) in enumerate(steps) if fate not in ("reject", "bad")} == set(acted)
    for key in range(4):
        mine = [number for number in acted if steps[number][0] == key]
        assert mine == sorted(mine)
