# Functions here are only declared.
# mypy: disable-error-code="empty-body"
"""What an `infer` stage may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from penstock import Pipeline, call
from penstock.models import Prediction
from penstock.pipeline.graph import Infer
from tests.pipeline.mistakes import mistake
from tests.pipeline.shop import IN, Finding, Payment, Profile, payments

MODEL = "card-fraud@champion"


class Features(msgspec.Struct):
    amount: float


def features(payment: Payment, profile: Profile) -> Features: ...
def rows(payment: Payment) -> list[Features]: ...
def row(payment: Payment) -> list[float]: ...
def number(payment: Payment) -> float: ...
def text(payment: Payment) -> str: ...
def perhaps(payment: Payment) -> Features | None: ...
def yielded(payment: Payment) -> Iterator[Features]:
    yield Features(1.0)


async def slowly(payment: Payment) -> float: ...


def test_an_inference_as_it_is_declared() -> None:
    pipeline: Any = Pipeline("demo")
    stream = payments(pipeline).enrich(profile=Finding())
    stream.infer(MODEL, features, fallback=number, deadline="20ms", challenger="card-fraud@challenger", share=0.1).end()
    infer = pipeline.build().node(2)
    assert isinstance(infer, Infer)
    assert infer.features is not None and infer.features.takes == ("profile",)
    assert (infer.stage, infer.features_type, infer.deadline, infer.share) == (MODEL, Features, 0.02, 0.1)


@pytest.mark.parametrize(
    ("asked", "options"),
    [(row, {}), (rows, {"many": True}), (None, {}), (dict, {}), (lambda payment: payment, {})],
)
def test_what_a_row_is_made_of(asked: Any, options: dict[str, Any]) -> None:
    pipeline: Any = Pipeline("demo")
    payments(pipeline).infer(MODEL, asked, **options).end()
    assert pipeline.build().models == (MODEL,)


@pytest.mark.parametrize("ref", ["card-fraud", "@champion", "card-fraud@", "a@b@c", 7])
def test_a_model_is_a_name_and_an_alias(ref: Any) -> None:
    @mistake(f"{ref!r} names no model: write name@alias, for example 'card-fraud@champion'")
    def declared(p: Any) -> None:
        payments(p).infer(ref).end()  # <>

    declared()


@mistake("'card-fraud' names no model: write name@alias, for example 'card-fraud@champion'")
def test_a_challenger_is_one_too(p: Any) -> None:
    payments(p).infer(MODEL, challenger="card-fraud").end()  # <>


@pytest.mark.parametrize("share", [-0.1, 1.5, "half", None])
def test_a_share_is_a_part_of_the_keys(share: Any) -> None:
    @mistake(f"share is {share!r}: it is a share of the keys, from 0 to 1")
    def declared(p: Any) -> None:
        payments(p).infer(MODEL, share=share).end()  # <>

    declared()


@mistake("share= says how many keys the challenger gets: name it, challenger='card-fraud@challenger'")
def test_a_share_of_nobody(p: Any) -> None:
    payments(p).infer(MODEL, share=0.5).end()  # <>


@mistake("""deadline: 'soon' is not a length of time: write for example "250ms", "10s", "5m", "24h", "7d\"""")
def test_a_deadline_is_a_length_of_time(p: Any) -> None:
    payments(p).infer(MODEL, deadline="soon").end()  # <>


@mistake("the features of 'card-fraud@champion' may be None (Features | None): a model is asked about every event")
def test_features_are_there(p: Any) -> None:
    payments(p).infer(MODEL, perhaps).end()  # <>


@mistake(
    "the features of 'card-fraud@champion' are a generator function: return one row, or a list of rows with many=True"
)
def test_features_are_not_yielded(p: Any) -> None:
    payments(p).infer(MODEL, yielded).end()  # <>


@mistake("the features of 'card-fraud@champion' are a list of Features: say many=True to ask about each")
def test_a_list_of_rows_is_many(p: Any) -> None:
    payments(p).infer(MODEL, rows).end()  # <>


@mistake("the features of 'card-fraud@champion' are float: many=True asks about a list of them")
def test_many_is_a_list(p: Any) -> None:
    payments(p).infer(MODEL, number, many=True).end()  # <>


@mistake("the features of 'card-fraud@champion' are str: return them by name, or as a list of numbers")
def test_features_are_a_row(p: Any) -> None:
    payments(p).infer(MODEL, text).end()  # <>


@mistake("the payload of 'card-fraud@champion' is str: say how to make features of it")
def test_a_payload_that_is_no_row(p: Any) -> None:
    p.source(IN, schema=str).infer(MODEL).end()  # <>


# -- fallbacks -----------------------------------------------------------------------------------------------------


def full(payment: Payment) -> Prediction: ...
def none(payment: Payment) -> float | None: ...
def whole(payment: Payment) -> int | str: ...


@pytest.mark.parametrize("fallback", [number, text, full, whole, lambda payment: 0.5])
def test_a_fallback_answers_with_a_prediction_a_number_or_a_label(fallback: Any) -> None:
    pipeline: Any = Pipeline("demo")
    payments(pipeline).infer(MODEL, row, fallback=fallback).end()
    assert len(pipeline.build().nodes) == 3


@mistake("the fallback of 'card-fraud@champion' returns float | None: return a Prediction, a number or a label")
def test_a_fallback_answers(p: Any) -> None:
    payments(p).infer(MODEL, row, fallback=none).end()  # <>


@mistake("the fallback of 'card-fraud@champion' returns Features: return a Prediction, a number or a label")
def test_a_fallback_answers_with_nothing_else(p: Any) -> None:
    payments(p).enrich(profile=Finding()).infer(MODEL, row, fallback=features).end()  # <>


@mistake("the fallback of 'card-fraud@champion' is not a plain function: it answers when there is no time to wait")
def test_a_fallback_does_not_wait(p: Any) -> None:
    payments(p).infer(MODEL, row, fallback=slowly).end()  # <>


@mistake("the fallback of 'card-fraud@champion' is not a plain function: it answers when there is no time to wait")
def test_a_fallback_has_no_options(p: Any) -> None:
    payments(p).infer(MODEL, row, fallback=call(number, cache="1m")).end()  # <>


@mistake("'card-fraud@champion' has many=True and a fallback, which answers for one prediction: leave one of them out")
def test_a_fallback_for_many(p: Any) -> None:
    payments(p).infer(MODEL, rows, fallback=number, many=True).end()  # <>
