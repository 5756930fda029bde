# Functions here are only declared.
# mypy: disable-error-code="empty-body"
"""Each kind of stage: what it accepts, what it refuses, what flows out of it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, TypeGuard

import pytest
from typing_extensions import TypeIs

from penstock import Action, Pipeline, Retries, batched, call, merge
from penstock.connectors.memory import Memory
from penstock.pipeline.graph import Act, Filter, Infer, Source, Transform
from tests.pipeline.mistakes import mistake
from tests.pipeline.shop import (
    IN,
    OUT,
    Decision,
    Finding,
    Login,
    Logout,
    Payment,
    Profile,
    Refund,
    big,
    decide,
    double,
    judge,
    many,
    maybe,
    parts,
    payments,
    same,
)

# -- source --------------------------------------------------------------------------------------------------------


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


# -- transform -----------------------------------------------------------------------------------------------------


def gone(payment: Payment) -> None: ...


@mistake("transform 'gone' returns None: to drop events use .filter(...), or yield the ones to keep")
def test_a_transform_that_returns_none(p: Any) -> None:
    payments(p).transform(gone).end()  # <>


@mistake(
    "transform 'maybe' may return None (Payment | None): to drop events use .filter(...), or yield the ones to keep"
)
def test_a_transform_that_may_return_none(p: Any) -> None:
    payments(p).transform(maybe).end()  # <>


@mistake(
    "transform 'same' may return None (Payment | None): to drop events use .filter(...), or yield the ones to keep"
)
def test_a_transform_whose_default_is_none(p: Any) -> None:
    payments(p).transform(call(same, default=None)).end()  # <>


def test_names_survive_transforms_filters_and_generators() -> None:
    pipeline: Any = Pipeline("demo")
    stream = payments(pipeline).enrich(profile=Finding())
    stream.transform(double).filter(big).transform(parts).act(judge, to=OUT)
    assert [dict(node.scope) for node in pipeline.build()][1:] == [{"profile": Profile}] * 5


# -- filter, split, of ---------------------------------------------------------------------------------------------


def is_refund(event: Payment | Refund) -> TypeIs[Refund]: ...
def is_payment(event: Payment | Refund) -> TypeGuard[Payment]: ...


@pytest.mark.parametrize(("predicate", "kind"), [(is_refund, Refund), (is_payment, Payment)])
def test_a_predicate_that_narrows_narrows_the_stream(predicate: Any, kind: type) -> None:
    pipeline = Pipeline("demo")
    pipeline.source(IN, schema=Login | Logout).end()
    pipeline.source(Memory("both"), schema=Payment | Refund, decode=lambda raw: Refund("", "")).filter(predicate).end()
    assert pipeline.build().node(3).payload is kind


@mistake("'double' returns Payment: it says which events to keep, so it returns bool")
def test_a_filter_returns_bool(p: Any) -> None:
    payments(p).filter(double).end()  # <>


def yields(payment: Payment) -> Iterator[bool]:
    yield True


@mistake("'yields' is a generator function: return True or False, or .transform(...) to yield")
def test_a_filter_does_not_yield(p: Any) -> None:
    payments(p).filter(yields).end()  # <>


def test_both_sides_of_a_split_share_one_predicate_and_one_name() -> None:
    pipeline: Any = Pipeline("demo")
    yes, no = payments(pipeline).split(big)
    no.end()
    yes.end()
    first, second = [node for node in pipeline.build() if isinstance(node, Filter)]
    assert (first.stage, first.negate, second.stage, second.negate, second.twin) == (
        "big",
        False,
        "big",
        True,
        first.id,
    )
    assert first.function is second.function


def test_of_narrows_a_union() -> None:
    pipeline = Pipeline("demo")
    pipeline.source(IN, schema=Login | Logout).of(Logout).end()
    assert pipeline.build().node(1).payload is Logout


@mistake(".of(Refund) never holds: the stream carries Login | Logout")
def test_of_a_type_that_is_not_there(p: Any) -> None:
    p.source(IN, schema=Login | Logout).of(Refund).end()  # <>


@mistake(".of(list[int]) takes one class, of those that the stream carries: Payment")
def test_of_something_that_is_no_class(p: Any) -> None:
    payments(p).of(list[int]).end()  # <>


# -- enrich --------------------------------------------------------------------------------------------------------


@mistake("this enrich adds nothing: name what it finds, for example profile=lookup('card:{card}', Profile)")
def test_an_enrich_of_nothing(p: Any) -> None:
    payments(p).enrich().end()  # <>


@mistake("profile= Payment has no field 'crad': did you mean 'card'?")
def test_a_helper_reads_fields_that_are_there(p: Any) -> None:
    payments(p).enrich(profile=Finding(fields=("crad",))).end()  # <>


@mistake("parts= is a generator function: an enrichment is one value, so return it")
def test_an_enrichment_does_not_yield(p: Any) -> None:
    payments(p).enrich(parts=parts).end()  # <>


@mistake("gone= returns None: it is there to return what it has found")
def test_an_enrichment_returns_something(p: Any) -> None:
    payments(p).enrich(gone=gone).end()  # <>


def test_an_enrich_on_another_branch_has_a_name_of_its_own() -> None:
    pipeline: Any = Pipeline("demo")
    stream = payments(pipeline)
    for _ in range(3):
        stream.enrich(profile=Finding()).end()
    assert [node.stage for node in pipeline.build() if node.kind == "enrich"] == [
        "enrich(profile)",
        "enrich(profile)#2",
        "enrich(profile)#3",
    ]


# -- act -----------------------------------------------------------------------------------------------------------


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


# -- merge ---------------------------------------------------------------------------------------------------------


def weight(payment: Payment) -> float: ...


def test_a_merge_keeps_the_names_that_all_have_with_equal_types() -> None:
    pipeline: Any = Pipeline("demo")
    stream = payments(pipeline).enrich(shared=Finding())
    one = stream.enrich(same=weight, typed=Finding(float), mine=weight)
    other = stream.filter(big).enrich(same=weight, typed=Finding(int))
    merge(one, other).end()
    assert dict(pipeline.build().node(5).scope) == {"shared": Profile, "same": float}


def test_a_merge_carries_the_union() -> None:
    pipeline: Any = Pipeline("demo")
    merge(payments(pipeline).transform(double), pipeline.source(OUT, schema=Login)).end()
    assert pipeline.build().node(3).payload == Payment | Login


@mistake(
    "judge() asks for 'profile', which nothing before it adds: it was added at <added>, and lost at <merged>: "
    "a merge keeps what all its streams have"
)
def test_a_name_that_a_merge_lost(p: Any) -> None:
    stream = payments(p)
    rich = stream.enrich(profile=Finding())  # <added>
    both = merge(rich, stream)  # <merged>
    both.act(judge, to=OUT)  # <>


@mistake("merge() joins streams of different pipelines: an event belongs to one pipeline")
def test_a_merge_of_foreign_streams(p: Any) -> None:
    merge(payments(p), payments(Pipeline("other"))).end()  # <>


@mistake("merge() is given one stream twice: each of its events would come once all the same")
def test_a_merge_with_itself(p: Any) -> None:
    stream = payments(p)
    merge(stream, stream).end()  # <>


@mistake("merge() joins streams: give it two or more, one after another")
def test_a_merge_of_a_list(p: Any) -> None:
    both: Any = [payments(p)]
    merge(both)  # <>


@mistake("merge() joins streams: give it two or more, one after another")
def test_a_merge_of_nothing(p: Any) -> None:
    merge()  # <>


# -- names of stages -----------------------------------------------------------------------------------------------


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


# -- retries -------------------------------------------------------------------------------------------------------


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


def test_infer_adds_its_prediction() -> None:
    from penstock.models import Prediction

    pipeline: Any = Pipeline("demo")
    payments(pipeline).infer("m@champion").infer("n@champion", many, name="each", many=True).end()
    one, each = [node for node in pipeline.build() if isinstance(node, Infer)]
    assert (dict(one.scope), each.scope["each"]) == ({"prediction": Prediction}, list[Prediction])
    assert pipeline.build().models == ("m@champion", "n@champion")
