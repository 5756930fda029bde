"""What keeps new events from starting, and that they start again."""

from __future__ import annotations

import pytest

from penstock import (
    Pipeline,
    Unavailable,
)
from tests.pipeline.doubles import Asking, Memory, bench
from tests.pipeline.steps import Step, encoded, later


@pytest.mark.parametrize("slow", ["wave", "slot"])
async def test_an_outage_of_the_store_holds_events_and_goes_on_by_itself(slow: str) -> None:
    down = [True]

    def answers(step: Step) -> int:
        if down[0]:
            raise Unavailable("store", "gone")
        return step.id

    made = Pipeline("outage")
    stream = made.source(Memory("in"), schema=Step, key="key", id="id").enrich(asked=Asking(answers))
    if slow == "slot":
        stream = stream.transform(later)
    stream.act(lambda step, asked: asked, to=Memory("out"), stage="pass")
    async with bench(made) as b:
        b.topic("in").extend(encoded(*(Step(number, f"k{number % 3}") for number in range(1000))))
        await b.until(lambda: "store" in b.engine.outages.down)
        taken = b.engine.lanes[0].received
        down[0] = False
        await b.until(lambda: b.confirmed("in") == 1000)
        assert b.engine.letters.written == 0
        assert taken <= 1024
        assert len(b.topic("out")) == 1000
