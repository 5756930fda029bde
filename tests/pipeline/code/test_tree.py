"""The stages as they run: what is dropped, what is split and joined again, what becomes several."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from penstock import (
    merge,
)
from penstock.pipeline.testing.harness import harness
from tests.pipeline.doubles import Memory
from tests.pipeline.steps import Step, pipeline, same


async def test_filtered_events_are_finished_and_counted(form: str) -> None:
    made, stream = pipeline(form)
    stream.filter(lambda step: step.id % 2 == 0, stage="even").act(lambda step: step.id, to=Memory("out"), stage="pass")
    async with harness(made) as h:
        outcomes = [await h.send(Step(number, "k")) for number in range(4)]
        assert [outcome.actions for outcome in outcomes] == [[0], [], [2], []]
        assert h.engine.statistics()["filtered"] == {"even": 2}


async def test_split_runs_its_predicate_once(form: str) -> None:
    made, stream = pipeline(form)
    asked: list[int] = []

    def even(step: Step) -> bool:
        asked.append(step.id)
        return step.id % 2 == 0

    yes, no = stream.split(even)
    yes.act(lambda step: step.id, to=Memory("even"), stage="yes")
    no.act(lambda step: step.id, to=Memory("odd"), stage="no")
    async with harness(made) as h:
        for number in range(4):
            await h.send(Step(number, "k"))
        assert (h.actions("yes"), h.actions("no"), asked) == ([0, 2], [1, 3], [0, 1, 2, 3])


async def test_a_generator_makes_children_with_ids_of_their_own(form: str) -> None:
    made, stream = pipeline(form)

    def each(step: Step) -> Iterator[str]:
        yield from step.fate

    stream.transform(each).act(lambda letter: letter, to=Memory("out"), stage="say")
    async with harness(made) as h:
        outcome = await h.send(Step(1, "k", "abc"))
        assert [(one.data, one.id) for one in outcome.sent] == [("a", "1/say.0"), ("b", "1/say.1"), ("c", "1/say.2")]
        assert (await h.send(Step(2, "k", ""))).finished


async def test_an_async_generator_is_one_too() -> None:
    made, stream = pipeline("slot")

    async def each(step: Step) -> AsyncIterator[str]:
        for letter in step.fate:
            await asyncio.sleep(0)
            yield letter

    stream.transform(each).act(lambda letter: letter, to=Memory("out"), stage="say")
    async with harness(made) as h:
        assert (await h.send(Step(1, "k", "ab"))).actions == ["a", "b"]


async def test_merge_joins_branches_and_ids_stay_apart(form: str) -> None:
    made, stream = pipeline(form)
    merge(stream, stream.transform(same, stage="again")).act(lambda step: step.id, to=Memory("out"), stage="pass")
    async with harness(made) as h:
        outcome = await h.send(Step(1, "k"))
        assert sorted(one.id for one in outcome.sent) == ["1/pass.0", "1/pass.1"]
