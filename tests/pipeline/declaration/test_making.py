# Functions here are only declared.
# mypy: disable-error-code="empty-body"
"""What every stage has: its name, and the policy of its retries."""

from __future__ import annotations

import functools
from typing import Any

from penstock import Pipeline, Retries, batched, call
from penstock.pipeline.graph import Transform
from tests.pipeline.mistakes import mistake
from tests.pipeline.shop import (
    OUT,
    Payment,
    decide,
    double,
    payments,
    same,
)

# -- names of stages --------------------------------------------------------------------------------------------------


@mistake("a lambda has no name that could name its stage: give it one with stage='...'")
def test_a_lambda_needs_a_name(p: Any) -> None:
    payments(p).filter(lambda payment: True).end()  # <>


@mistake("a partial has no name that could name its stage: give it one with stage='...'")
def test_a_partial_needs_a_name(p: Any) -> None:
    payments(p).transform(functools.partial(same)).end()  # <>


class Scorer:
    def __call__(self, payment: Payment) -> Payment: ...


@mistake("a Scorer has no name that could name its stage: give it one with stage='...'")
def test_an_object_needs_a_name(p: Any) -> None:
    payments(p).transform(call(Scorer())).end()  # <>


@mistake("transform is given 'same': give it a function")
def test_what_is_no_function(p: Any) -> None:
    payments(p).transform("same").end()  # <>


def test_a_name_can_be_given() -> None:
    pipeline: Any = Pipeline("demo")
    payments(pipeline).filter(lambda payment: True, stage="all").transform(batched(listing), stage="each").end()
    assert [node.stage for node in pipeline.build()] == ["payments", "all", "each", ""]


def listing(found: list[Payment]) -> list[Payment]: ...


@mistake("stage 'same' is there already, at <first>: name this one with stage='...'")
def test_names_are_unique(p: Any) -> None:
    stream = payments(p).transform(same)  # <first>
    stream.transform(same).end()  # <>


@mistake("stage 'm@champion' is there already, at <first>: name this one with stage='...'")
def test_a_model_asked_twice_needs_names(p: Any) -> None:
    stream = payments(p).infer("m@champion")  # <first>
    stream.infer("m@champion", name="second").end()  # <>


@mistake("stage= is 7: it is a name")
def test_a_stage_is_named_by_text(p: Any) -> None:
    payments(p).transform(same, stage=7).end()  # <>


# -- retries ----------------------------------------------------------------------------------------------------------


def test_retries_of_a_stage_or_of_its_call() -> None:
    pipeline: Any = Pipeline("demo")
    stream = payments(pipeline).transform(same, retry=Retries(attempts=7))
    stream.transform(call(double, retry=Retries(attempts=8))).act(decide, to=OUT)
    nodes = pipeline.build().nodes
    assert [node.retry and node.retry.attempts for node in nodes] == [None, 7, 8, None]
    assert isinstance(nodes[2], Transform)


@mistake("retry is 3: write Retries(attempts=3, first='100ms', longest='10s')")
def test_retries_are_retries(p: Any) -> None:
    payments(p).transform(same, retry=3).end()  # <>


@mistake("retry= stands here and in call(...): one of them is enough")
def test_retries_are_said_once(p: Any) -> None:
    payments(p).transform(call(same, retry=Retries()), retry=Retries()).end()  # <>
