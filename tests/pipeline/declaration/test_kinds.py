# Functions here are only declared.
# mypy: disable-error-code="empty-body"
"""Functions of every kind in every position: coroutines, generators, classes, those of `call` and `batched`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from penstock import Pipeline, batched, call
from penstock.models import Prediction
from penstock.pipeline.graph import Enrich, Function
from tests.pipeline.mistakes import mistake
from tests.pipeline.shop import (
    OUT,
    Decision,
    Finding,
    Payment,
    Profile,
    Refund,
    big,
    decide,
    double,
    later,
    node,
    parts,
    payments,
    profile_of,
    same,
    streamed,
    wired,
)

if TYPE_CHECKING:
    pass


class Scorer:
    async def __call__(self, payment: Payment) -> float: ...

    def method(self, payment: Payment) -> float: ...


def listed(found: list[Payment]) -> list[Payment]: ...


def listed_widely(found: Sequence[Payment], profile: Sequence[Profile]) -> Sequence[Decision]: ...


@pytest.mark.parametrize(
    ("f", "kind", "payload"),
    [
        (same, "plain", Payment),
        (later, "coroutine", Payment),
        (parts, "generator", Payment),
        (streamed, "async generator", Payment),
        (call(later, timeout="1s"), "coroutine", Payment),
        (call(same, thread=True), "plain", Payment),
        (batched(listed), "plain", Payment),
        (Scorer(), "coroutine", float),
        (Scorer().method, "plain", float),
        (functools.partial(later), "coroutine", Payment),
    ],
)
def test_what_a_stage_emits(f: Any, kind: str, payload: Any) -> None:
    pipeline: Any = Pipeline("demo")
    payments(pipeline).transform(f, stage="it").end()
    made = node(pipeline, "it")
    assert (wired(made).kind, made.payload) == (kind, payload)


def test_a_default_widens_what_a_name_may_be() -> None:
    pipeline: Any = Pipeline("demo")
    stream = payments(pipeline)
    stream.enrich(a=call(profile_of, default=None), b=call(profile_of, default=Profile()), c=profile_of).end()
    scope = node(pipeline, "enrich(a,b,c)").scope
    assert scope == {"a": Profile | None, "b": Profile, "c": Profile}


def test_call_and_batched_take_the_place_of_a_function_anywhere() -> None:
    pipeline: Any = Pipeline("demo")

    def lists(found: list[Any]) -> list[Any]: ...

    stream = payments(pipeline).transform(batched(lists), stage="transform")
    stream = stream.filter(call(big, cache="1m")).enrich(one=call(later, timeout="1s"), other=batched(lists))
    stream = stream.infer("m@champion", batched(lists), stage="infer").infer("m@challenger", call(dict), name="second")
    stream.act(batched(listed_widely_decided), to=OUT, stage="act")
    stream.act(call(decide, retry=None), to=OUT)
    kinds = [node.kind for node in pipeline.build()]
    assert kinds == ["source", "transform", "filter", "enrich", "infer", "infer", "act", "act"]
    enriched = node(pipeline, "enrich(one,other)")
    assert isinstance(enriched, Enrich)
    assert [item.many for _, item in enriched.items if isinstance(item, Function)] == [False, True]


def listed_widely_decided(found: Sequence[Payment], prediction: list[Prediction]) -> Sequence[Decision]: ...


def test_a_function_of_lists_gets_its_names_as_lists() -> None:
    pipeline: Any = Pipeline("demo")
    payments(pipeline).enrich(profile=Finding()).transform(batched(listed_widely)).end()
    made = node(pipeline, "listed_widely")
    assert (wired(made).takes, made.payload) == (("profile",), Decision)


mistaken: Any = batched
"""What a type checker refuses too, here left to `build()`."""


@mistake("same() is batched, so it takes a list: write payment: list[Payment], not Payment")
def test_a_batched_function_takes_a_list(p: Any) -> None:
    payments(p).transform(mistaken(same)).end()  # <>


def listed_wrongly(found: list[Refund]) -> list[Refund]: ...


@mistake("listed_wrongly() takes Refund as found, but the stream carries Payment")
def test_the_elements_of_the_list_must_fit(p: Any) -> None:
    payments(p).transform(batched(listed_wrongly)).end()  # <>


def listed_one(found: list[Payment]) -> Payment: ...


@mistake("listed_one() is batched, so it returns a list, one result for each event in order, not Payment")
def test_a_batched_function_returns_a_list(p: Any) -> None:
    payments(p).transform(mistaken(listed_one)).end()  # <>


def listed_name(found: list[Payment], profile: Profile) -> list[Payment]: ...


@mistake("listed_name() is batched, so profile is a list too: write profile: list[Profile]")
def test_names_of_a_batched_function_are_lists(p: Any) -> None:
    payments(p).enrich(profile=Finding()).transform(batched(listed_name)).end()  # <>


@mistake("parts() is a generator function: batched() wants a list, one result for each event, in order")
def test_a_batched_generator(p: Any) -> None:
    payments(p).transform(mistaken(parts)).end()  # <>


@mistake("Profile is a class: batched() wants a function from a list to a list")
def test_a_batched_class(p: Any) -> None:
    payments(p).transform(mistaken(Profile)).end()  # <>


@mistake(
    "double() is a plain function, which nothing can interrupt: call(..., timeout=) needs thread=True, "
    "or a coroutine function"
)
def test_a_plain_function_cannot_be_timed_out_in_place(p: Any) -> None:
    payments(p).transform(call(double, timeout="1s")).end()  # <>


@mistake("later() is a coroutine function, so it runs on the loop: take thread=True away")
def test_a_coroutine_function_has_no_thread(p: Any) -> None:
    payments(p).transform(call(later, thread=True)).end()  # <>


@mistake("parts() is a generator function: of call()'s options it can have retry= alone")
def test_options_that_a_generator_cannot_have(p: Any) -> None:
    payments(p).transform(call(parts, cache="1m")).end()  # <>
