"""Actions handed over: keys that wait for a sink which keeps no order, and what comes too late."""

from __future__ import annotations

import asyncio

from penstock import Pipeline, Undeliverable
from penstock.connectors.memory import Memory
from tests.pipeline.doubles import bench, scripted
from tests.pipeline.steps import Step, encoded, pipeline


async def test_a_sink_without_order_holds_the_key_until_it_confirms(form: str) -> None:
    endpoint, sink = scripted(answer=lambda message: "wait", ordered=False)
    made, stream = pipeline(form)
    stream.act(lambda step: step.id, to=endpoint, stage="pass")
    async with bench(made) as b:
        b.topic("in").extend(encoded(Step(1, "a"), Step(2, "a"), Step(3, "b"), Step(4, "a")))
        await b.until(lambda: len(sink.waiting) == 2)
        assert [message.id for message in sink.taken] == ["1/pass", "3/pass"]
        sink.release()
        await b.until(lambda: len(sink.waiting) == 1)
        sink.release()
        await b.until(lambda: len(sink.waiting) == 1)
        sink.release()
        await b.until(lambda: b.confirmed("in") == 4)
        assert [message.id for message in sink.taken] == ["1/pass", "3/pass", "2/pass", "4/pass"]


async def test_a_sink_that_keeps_order_lets_no_key_go_that_another_one_holds(form: str) -> None:
    held, waiting = scripted("http", lambda message: "wait", ordered=False)
    refusing, _ = scripted("kafka", lambda message: Undeliverable("too large"))
    made, stream = pipeline(form)
    stream.act(lambda step: step.id, to=held, stage="hold")
    stream.filter(lambda step: step.id == 1, stage="once").act(lambda step: step.id, to=refusing, stage="refused")
    async with bench(made) as b:
        b.topic("in").extend(encoded(Step(1, "k"), Step(2, "k"), Step(3, "other")))
        await b.until(lambda: b.engine.letters.written == 1 and len(waiting.taken) == 2)
        assert [message.id for message in waiting.taken] == ["1/hold", "3/hold"]
        waiting.release()
        await b.until(lambda: len(waiting.waiting) == 1)
        waiting.release()
        await b.until(lambda: b.confirmed("in") == 3)


async def test_what_is_decided_for_records_that_are_anothers_by_now_is_dropped() -> None:
    """One event was slow, and its partition has left meanwhile."""
    endpoint, sink = scripted(answer=lambda message: "wait")
    gate = asyncio.Event()

    async def slow(step: Step) -> Step:
        if step.id == 2:
            await gate.wait()
        return step

    made = Pipeline("leaving")
    steps = made.source(Memory("in"), schema=Step, key="key").transform(slow)
    steps.act(lambda step: step.id, to=endpoint, stage="pass")
    async with bench(made) as b:
        b.topic("in").extend(encoded(Step(1, "a"), Step(2, "b")))
        await b.until(lambda: len(sink.taken) == 1)
        sink.taken[0].batch.void = True
        gate.set()
        b.topic("in").extend(encoded(Step(3, "b")))
        await b.until(lambda: len(sink.taken) == 2)
        assert [message.value for message in sink.taken] == [b"1", b"3"]
        sink.release()
        await b.until(lambda: b.engine.lanes[0].in_flight == 0)
