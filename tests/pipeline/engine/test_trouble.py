"""What is done about a failure, whatever a function raises."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from penstock import (
    Pipeline,
    Retries,
    Retry,
    Stream,
)
from penstock.pipeline.testing.harness import harness
from tests.pipeline.doubles import Memory
from tests.pipeline.steps import Step, pipeline


async def test_a_retry_goes_on_where_it_failed(form: str) -> None:
    made, stream = pipeline(form, retry=Retries(attempts=3, first="10s", longest="10s"))
    calls: list[str] = []

    def before(step: Step) -> Step:
        calls.append("before")
        return step

    def failing(step: Step) -> Step:
        calls.append("failing")
        if calls.count("failing") < 3:
            raise RuntimeError("not yet")
        return step

    stream.transform(before).transform(failing).act(lambda step: step.id, to=Memory("out"), stage="pass")
    async with harness(made) as h:
        outcome = await h.send(Step(1, "k"))
        assert not outcome.finished
        await h.advance("1m")
        assert h.sent(Memory("out"))[0].data == 1
    assert calls == ["before", "failing", "failing", "failing"]


async def test_retry_after_is_honoured(form: str) -> None:
    made, stream = pipeline(form)
    asked: list[float] = []

    async with harness(made_with(stream, asked, made)) as h:
        asked.append(-1.0)
        await h.send(Step(1, "k"))
        await h.advance("59s")
        assert h.sent(Memory("out")) == []
        await h.advance("2s")
        assert [one.data for one in h.sent(Memory("out"))] == [1]


def made_with(stream: Stream[Step], asked: list[float], made: Pipeline) -> Pipeline:
    def again(step: Step) -> int:
        if asked:
            asked.clear()
            raise Retry("1m")
        return step.id

    stream.act(again, to=Memory("out"))
    return made


async def test_a_transform_that_returns_none_says_what_to_write(form: str) -> None:
    made, stream = pipeline(form)
    stream.transform(lambda step: None if step.fate else step, stage="drops").end()
    async with harness(made) as h:
        outcome = await h.send(Step(1, "k", "x"))
        assert outcome.dead is not None
        assert (
            outcome.dead.reason == "'drops' returned None: to drop events use .filter(...), or yield the ones to keep"
        )


@pytest.mark.parametrize("raised", [SystemExit, asyncio.CancelledError, RecursionError, MemoryError])
async def test_nothing_a_function_raises_stops_the_pipeline(form: str, raised: type[BaseException]) -> None:
    made, stream = pipeline(form, retry=Retries(attempts=1))

    def rude(step: Step) -> int:
        if step.fate:
            raise raised
        return step.id

    stream.act(rude, to=Memory("out"))
    async with harness(made) as h:
        outcome = await h.send(Step(1, "k", "x"))
        assert outcome.dead is not None and outcome.dead.error == raised.__name__
        assert (await h.send(Step(2, "k"))).actions == [2]


async def test_one_failing_child_leaves_the_others_alone(form: str) -> None:
    made, stream = pipeline(form, retry=Retries(attempts=1))

    def each(step: Step) -> Iterator[str]:
        yield from step.fate

    def say(letter: str) -> str:
        if letter == "b":
            raise ValueError(letter)
        return letter

    stream.transform(each).act(say, to=Memory("out"))
    async with harness(made) as h:
        outcome = await h.send(Step(1, "k", "abc"))
        assert outcome.actions == ["a", "c"]
        assert outcome.dead is not None and outcome.dead.id.startswith("1/say.1~")
        assert outcome.dead.done == ("1/say.0", "1/say.2")


async def test_branches_are_independent_and_nothing_leaves_before_all_acts_returned(form: str) -> None:
    made, stream = pipeline(form, retry=Retries(attempts=2, first="10s", longest="10s"))
    failed: list[int] = []
    seen: list[str] = []

    def first(step: Step) -> int:
        seen.append("first")
        return step.id

    def second(step: Step) -> int:
        if not failed:
            failed.append(step.id)
            raise RuntimeError("once")
        return -step.id

    stream.act(first, to=Memory("first"))
    stream.act(second, to=Memory("second"))
    async with harness(made) as h:
        assert (await h.send(Step(1, "k"))).actions == []
        await h.advance("30s")
        assert (h.actions(first), h.actions(second), seen) == ([1], [-1], ["first"])
