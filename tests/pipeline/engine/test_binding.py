"""What stages call: functions with options, models, resources, and what makes actions."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from penstock import (
    Action,
    Event,
    Pipeline,
    Retries,
    batched,
    call,
)
from penstock.models.prediction import Prediction
from penstock.pipeline.testing.harness import harness
from tests.pipeline.doubles import Asking, Memory
from tests.pipeline.steps import Step, pipeline


async def test_actions_say_more_than_payloads(form: str) -> None:
    made, stream = pipeline(form)

    def decide(step: Step, event: Event) -> list[Action[dict[str, int]] | None]:
        return [
            Action({"n": step.id}, key="other", headers={"why": event.id}, type="decision", subject="s"),
            None,
            Action(None, key="gone"),
        ]

    stream.act(decide, to=Memory("out"))
    async with harness(made) as h:
        one, two = (await h.send(Step(5, "k"))).sent
        assert (one.data, one.key, one.headers, one.type, one.id) == (
            {"n": 5},
            "other",
            {"why": "5"},
            "decision",
            "5/decide.0",
        )
        assert (two.data, two.key, two.id) == (None, "gone", "5/decide.2")


async def test_a_payload_that_cannot_be_written_is_the_events_own_failure(form: str) -> None:
    made, stream = pipeline(form, retry=Retries(attempts=1))
    stream.act(lambda step: object(), to=Memory("out"), stage="odd")
    async with harness(made) as h:
        outcome = await h.send(Step(1, "k"))
        assert outcome.dead is not None and "cannot be written as JSON" in outcome.dead.reason


async def test_calls_with_options_in_any_position() -> None:
    made = Pipeline("options")
    asked: list[str] = []

    async def weather(step: Step) -> str:
        asked.append(step.key)
        await asyncio.Event().wait()
        return "never"

    def blocking(step: Step) -> bool:
        return sys.getswitchinterval() > 0 and step.id > 0

    def lists(steps: list[Step]) -> list[Step]:
        if any(step.fate for step in steps):
            raise ValueError("guilty")
        return steps

    stream = made.source(Memory("in"), schema=Step, key="key", id="id").transform(batched(lists))
    stream = stream.enrich(weather=call(weather, timeout="1s", default="fair", cache="1m"))
    stream.filter(call(blocking, thread=True)).act(lambda step, weather: weather, to=Memory("out"), stage="say")
    async with harness(made) as h:
        sending = asyncio.ensure_future(h.send(Step(1, "k")))
        while not asked:
            await asyncio.sleep(0)
        await h.advance("1s")
        assert (await sending).actions == ["fair"]
        bad = asyncio.ensure_future(h.send(Step(2, "k", "x")))
        await asyncio.sleep(0)
        await h.advance("10m")
        outcome = await bad
        assert outcome.dead is None or outcome.dead.reason == "ValueError: guilty"


async def test_the_latency_budget_bounds_waiting_and_not_decisions() -> None:
    made = Pipeline("budget", latency_budget="200ms")

    async def slow(step: Step) -> int:
        await asyncio.Event().wait()
        return 0

    stream = made.source(Memory("in"), schema=Step, key="key").enrich(asked=call(slow, default=-1))
    stream.infer("m@x", lambda step: [1.0], fallback=lambda step: 0.5).act(
        lambda step, asked, prediction: [asked, prediction.value, prediction.fallback], to=Memory("out"), stage="say"
    )

    async def model(row: Any) -> float:
        await asyncio.Event().wait()
        return 1.0

    async with harness(made, models={"m@x": Prediction(0.9)}) as h:
        sending = asyncio.ensure_future(h.send(Step(1, "k")))
        for _ in range(20):
            await asyncio.sleep(0)
        await h.advance("200ms")
        assert (await sending).actions[0] == -1


async def test_decisions_are_recorded_whole(form: str) -> None:
    made, stream = pipeline(form, record=Memory("records"))
    stream = stream.enrich(known=lambda step: {"limit": 5}) if form == "loop" else stream.enrich(known=Asking(len_of))
    stream.act(lambda step, known: Action({"id": step.id}), to=Memory("out"), stage="say")
    async with harness(made) as h:
        assert (await h.send(Step(4, "k"))).finished
        (record,) = h.sent(Memory("records"))
        assert record.id == "4/say.record"
        assert record.data["payload"] == {"id": 4, "key": "k", "fate": ""}
        assert record.data["found"]["known"] == {"limit": 5}
        assert (record.data["stage"], record.data["actions"]) == ("say", [{"id": 4}])


def len_of(step: Step) -> dict[str, int]:
    return {"limit": 5}


async def test_a_challenger_gets_its_share_of_the_keys_and_a_shadow_is_not_heard() -> None:
    made = Pipeline("models")
    shadowed: list[Any] = []

    def shadow(row: Any) -> float:
        shadowed.append(row)
        raise RuntimeError("nobody hears this")

    stream = made.source(Memory("in"), schema=Step, key="key")
    stream = stream.infer("m@champion", lambda step: [step.id], challenger="m@challenger", share=0.3, shadow="m@shadow")
    stream.act(lambda step, prediction: prediction.version, to=Memory("out"), stage="say")
    async with harness(made, models={"m@champion": 0.1, "m@challenger": 0.2, "m@shadow": shadow}) as h:
        versions = [(await h.send(Step(number, f"k{number}"))).actions[0] for number in range(200)]
        again = [(await h.send(Step(number, f"k{number}"))).actions[0] for number in range(200)]
    assert versions == again
    assert 20 < versions.count("challenger") < 100
    assert len(shadowed) == 400


def row_of(step: Step) -> list[int]:
    return [step.id]


async def row_of_slowly(step: Step) -> list[int]:
    await asyncio.sleep(0)
    return [step.id]


@pytest.mark.parametrize(
    "features",
    [row_of, row_of_slowly, call(row_of, cache="1m"), call(row_of, thread=True), call(row_of_slowly, timeout="1m")],
    ids=["plain", "coroutine", "cached", "in a thread", "with a time-out"],
)
async def test_features_may_come_from_a_function_with_options(features: Any) -> None:
    made = Pipeline("features")
    stream = made.source(Memory("in"), schema=Step).infer("m@x", features)
    stream.act(lambda step, prediction: prediction.value, to=Memory("out"), stage="say")
    async with harness(made, models={"m@x": lambda row: row[0]}) as h:
        assert (await h.send(Step(3, "k"))).actions == [3.0]


async def test_many_rows_for_one_event() -> None:
    made = Pipeline("many")

    def rows(step: Step) -> list[list[int]]:
        return [[step.id], [step.id + 1]]

    def say(step: Step, prediction: list[Prediction]) -> list[float]:
        return [one.value for one in prediction]

    made.source(Memory("in"), schema=Step).infer("m@x", rows, many=True).act(
        lambda step, prediction: {"all": say(step, prediction)}, to=Memory("out"), stage="say"
    )
    async with harness(made, models={"m@x": lambda row: row[0]}) as h:
        assert (await h.send(Step(3, "k"))).actions == [{"all": [3.0, 4.0]}]
