"""What becomes of actions: an outage of their sink, a refusal, and who waits until they are settled."""

from __future__ import annotations

from penstock import (
    Unavailable,
    Undeliverable,
)
from penstock.connectors import Message
from tests.pipeline.doubles import bench, scripted
from tests.pipeline.steps import Step, encoded, pipeline


async def test_an_outage_of_a_sink_makes_no_dead_letters_and_keeps_the_order(form: str) -> None:
    down = [True]
    endpoint, sink = scripted(answer=lambda message: Unavailable("broker", "gone") if down[0] else None)
    made, stream = pipeline(form)
    stream.act(lambda step: step.id, to=endpoint, stage="pass")
    async with bench(made) as b:
        b.topic("in").extend(encoded(*(Step(number, "k") for number in range(50))))
        await b.until(lambda: bool(b.engine.outages.down))
        assert any("broker" in problem for problem in b.engine.problems())
        assert b.confirmed("in") == 0
        down[0] = False
        await b.until(lambda: b.confirmed("in") == 50)
        assert b.engine.problems() == []
        assert b.engine.letters.written == 0
    last = {message.id: place for place, message in enumerate(sink.taken)}
    assert [int(name.split("/")[0]) for name in sorted(last, key=last.__getitem__)] == list(range(50))


async def test_a_refused_action_is_a_dead_letter_and_the_event_is_confirmed(form: str) -> None:
    def answer(message: Message) -> BaseException | None:
        return Undeliverable("too large") if message.id.startswith("3/") else None

    endpoint, _ = scripted(answer=answer)
    made, stream = pipeline(form)
    stream.act(lambda step: step.id, to=endpoint, stage="pass")
    async with bench(made) as b:
        b.topic("in").extend(encoded(*(Step(number, "k") for number in range(10))))
        await b.until(lambda: b.confirmed("in") == 10)
        ((_, letter),) = await b.engine.letters.read()
        assert (letter.stage, letter.reason) == ("pass", "too large")


async def test_nothing_is_confirmed_before_its_action_is(form: str) -> None:
    endpoint, sink = scripted(answer=lambda message: "wait")
    made, stream = pipeline(form)
    stream.act(lambda step: step.id, to=endpoint, stage="pass")
    async with bench(made) as b:
        b.topic("in").extend(encoded(*(Step(number, f"k{number}") for number in range(10))))
        await b.until(lambda: len(sink.waiting) == 10)
        assert b.confirmed("in") == 0
        sink.report(sink.waiting[1:5])
        await b.until(lambda: b.engine.lanes[0].in_flight == 6)
        assert b.confirmed("in") == 0
        sink.report(sink.waiting[:1])
        await b.until(lambda: b.confirmed("in") == 5)
        sink.report(sink.waiting[5:])
        await b.until(lambda: b.confirmed("in") == 10)
