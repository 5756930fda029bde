# Functions here are only declared.
# mypy: disable-error-code="empty-body"
"""What happens to events in between: what each kind of stage accepts, refuses and emits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeGuard

import pytest
from typing_extensions import TypeIs

from penstock import Pipeline, call, merge
from penstock.connectors.memory import Memory
from penstock.pipeline.graph import Filter, Infer
from tests.pipeline.mistakes import mistake
from tests.pipeline.shop import (
    IN,
    OUT,
    Finding,
    Login,
    Logout,
    Payment,
    Profile,
    Refund,
    big,
    double,
    judge,
    many,
    maybe,
    parts,
    payments,
    same,
)

# -- transform --------------------------------------------------------------------------------------------------------


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


# -- filter, split, of ------------------------------------------------------------------------------------------------


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


# -- enrich -----------------------------------------------------------------------------------------------------------


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


# -- merge ------------------------------------------------------------------------------------------------------------


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


# -- infer ------------------------------------------------------------------------------------------------------------


def test_infer_adds_its_prediction() -> None:
    from penstock.models import Prediction

    pipeline: Any = Pipeline("demo")
    payments(pipeline).infer("m@champion").infer("n@champion", many, name="each", many=True).end()
    one, each = [node for node in pipeline.build() if isinstance(node, Infer)]
    assert (dict(one.scope), each.scope["each"]) == ({"prediction": Prediction}, list[Prediction])
    assert pipeline.build().models == ("m@champion", "n@champion")
