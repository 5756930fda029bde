# Functions here are only declared.
# mypy: disable-error-code="empty-body"
"""Where events come in and go out: what sources and acts accept, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from penstock import Action, Pipeline
from penstock.connectors.memory import Memory
from penstock.pipeline.graph import Act, Source
from tests.pipeline.mistakes import mistake
from tests.pipeline.shop import (
    IN,
    OUT,
    Decision,
    Payment,
    decide,
    parts,
    payments,
)

# -- source -----------------------------------------------------------------------------------------------------------


def test_a_source_is_named_by_its_topics_and_carries_its_schema() -> None:
    pipeline = Pipeline("demo")
    stream = pipeline.source(IN, Memory("terminals"), schema=Payment, key=("card", "owner.id"), id="id", time="at")
    stream.end()
    source = pipeline.build().node(0)
    assert isinstance(source, Source)
    assert (source.stage, source.payload, source.key, source.identity, source.time) == (
        "payments+terminals",
        Payment,
        ("card", "owner.id"),
        "id",
        "at",
    )


@mistake("this source has no endpoint: name at least one, for example Kafka('payments')")
def test_a_source_of_nothing(p: Any) -> None:
    p.source(schema=Payment).end()  # <>


@mistake("""repeats is 'often': it is "once" or "counted\"""")
def test_repeats(p: Any) -> None:
    p.source(IN, schema=Payment, repeats="often").end()  # <>


# -- act --------------------------------------------------------------------------------------------------------------


@mistake("act 'parts' is a generator function: return a payload, an Action, a list of them, or None")
def test_an_act_does_not_yield(p: Any) -> None:
    payments(p).act(parts, to=OUT)  # <>


@pytest.mark.parametrize("to", [OUT, [OUT], (OUT, Memory("copies"))])
def test_an_act_goes_to_one_endpoint_or_several(to: Any) -> None:
    pipeline: Any = Pipeline("demo")
    payments(pipeline).act(decide, to=to)
    act = pipeline.build().node(1)
    assert isinstance(act, Act)
    assert act.to == (to if isinstance(to, tuple) else (OUT,))


def acted(payment: Payment) -> Action[Decision] | list[Action[Decision]] | None: ...


def test_an_act_has_its_key_from_the_action_or_the_payload() -> None:
    pipeline: Any = Pipeline("demo")
    stream = payments(pipeline)
    stream.act(acted, to=OUT, key="region")
    stream.act(decide, to=OUT, key=("card", "owner.id"))
    stream.act(judge_freely, to=OUT, key=lambda action: action.region)
    assert [act.key is None for act in pipeline.build().acts] == [False, False, False]


def judge_freely(payment: Payment) -> Any: ...


@mistake("key= Payment has no field 'regoin'; it has amount, at, card, id, owner")
def test_a_key_that_is_nowhere(p: Any) -> None:
    payments(p).act(decide, to=OUT, key="regoin")  # <>
