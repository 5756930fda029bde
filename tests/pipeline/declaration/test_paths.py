"""Streams that lead nowhere, sources and replies that collide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from penstock import Pipeline, merge
from penstock.connectors.http.endpoint import Http, Reply
from penstock.connectors.kafka.endpoint import Kafka
from tests.pipeline.mistakes import mistake
from tests.pipeline.shop import IN, OUT, Finding, Login, Logout, Payment, big, decide, double, payments, same


@mistake("pipeline 'demo' has no source: begin with .source(...)")
def test_a_pipeline_has_a_source(p: Any) -> None:
    p.where = Pipeline("demo").where  # <>


@mistake(
    "the stream of the source 'payments' leads nowhere: add .act(..., to=...), "
    "or .end() if it is kept for what its stages do"
)
def test_a_source_leads_somewhere(p: Any) -> None:
    p.source(IN, schema=Payment)  # <>


@mistake(
    "the stream of the transform 'double' leads nowhere: add .act(..., to=...), "
    "or .end() if it is kept for what its stages do"
)
def test_a_branch_leads_somewhere(p: Any) -> None:
    stream = payments(p)
    stream.act(decide, to=OUT)
    stream.transform(double)  # <>


@mistake(
    "the stream of this merge leads nowhere: add .act(..., to=...), or .end() if it is kept for what its stages do"
)
def test_a_merge_leads_somewhere(p: Any) -> None:
    stream = payments(p)
    merge(stream.transform(double), stream)  # <>


@mistake(
    "the no side of the split 'big' leads nowhere: add .act(..., to=...), "
    "or .end() if it is kept for what its stages do"
)
def test_a_no_side_leads_somewhere(p: Any) -> None:
    yes, _ = payments(p).split(big)  # <>
    yes.act(decide, to=OUT)


@mistake(
    "the yes side of the split 'big' leads nowhere: add .act(..., to=...), "
    "or .end() if it is kept for what its stages do"
)
def test_a_yes_side_leads_somewhere(p: Any) -> None:
    _, no = payments(p).split(big)  # <>
    no.act(decide, to=OUT)


def test_an_end_and_an_act_are_where_streams_may_lead() -> None:
    pipeline: Any = Pipeline("demo")
    payments(pipeline).act(decide, to=OUT).enrich(profile=Finding()).end()
    assert [node.kind for node in pipeline.build()] == ["source", "act", "enrich", "end"]


# -- sources -------------------------------------------------------------------------------------------------------


@mistake("http:/orders/{id} is a source of this pipeline already, at <first>: use that stream twice instead")
def test_two_sources_on_one_path(p: Any) -> None:
    p.source(Http("/orders/{card}"), schema=Payment).end()  # <first>
    p.source(Http("/orders/{id}"), schema=Payment, stage="second").end()  # <>


def test_the_same_name_elsewhere_is_another_source() -> None:
    pipeline = Pipeline("demo")
    pipeline.source(Http("/orders"), Http("/orders", method="PUT"), Kafka("orders"), schema=Payment).end()
    pipeline.source(Kafka("orders", on="eu"), schema=Payment, stage="theirs").end()
    assert len(pipeline.build().sources) == 2


# -- replies -------------------------------------------------------------------------------------------------------


def asked(pipeline: Any) -> Any:
    return pipeline.source(Http("/payments"), schema=Payment)


@mistake("'decide' acts to Reply(), but no Http source leads to it, so nobody waits for the answer")
def test_a_reply_needs_somebody_who_waits(p: Any) -> None:
    p.source(Kafka("payments"), schema=Payment).act(decide, to=Reply())  # <>


@mistake(
    "'second' is a second reply to one request; the first is 'decide' at <first>. "
    "Two replies stand on the two sides of a .split(...)"
)
def test_two_replies_one_after_the_other(p: Any) -> None:
    stream = asked(p).act(decide, to=Reply())  # <first>
    stream.act(decide, to=Reply(), stage="second")  # <>


@mistake(
    "'second' is a second reply to one request; the first is 'decide' at <first>. "
    "Two replies stand on the two sides of a .split(...)"
)
def test_two_replies_on_two_branches(p: Any) -> None:
    stream = asked(p)
    stream.filter(big).act(decide, to=[OUT, Reply()])  # <first>
    stream.transform(same).act(decide, to=Reply(), stage="second")  # <>


@mistake(
    "'decide' acts to Reply() after a merge of streams that all carry the same event, so it would be answered twice"
)
def test_one_reply_that_an_event_reaches_twice(p: Any) -> None:
    stream = asked(p)
    both = merge(stream.transform(double), stream.transform(same))
    both.act(decide, to=Reply())  # <>


def test_the_two_sides_of_a_split_may_both_reply_also_after_a_merge() -> None:
    pipeline: Any = Pipeline("demo")
    yes, no = asked(pipeline).split(big)
    yes.act(decide, to=Reply())
    no.act(decide, to=Reply(), stage="no")
    other: Any = Pipeline("demo")
    yes, no = asked(other).split(big)
    merge(yes.transform(double), no).act(decide, to=Reply())
    assert (len(pipeline.build().acts), len(other.build().acts)) == (2, 1)


@dataclass(frozen=True)
class Answer:
    text: str


def greet(login: Login) -> Answer: ...  # type: ignore[empty-body]
def dismiss(logout: Logout) -> Answer: ...  # type: ignore[empty-body]


def test_each_type_of_a_union_may_have_its_reply() -> None:
    pipeline = Pipeline("demo")
    stream = pipeline.source(Http("/sessions"), schema=Login | Logout)
    stream.of(Login).act(greet, to=Reply())
    stream.of(Logout).act(dismiss, to=Reply())
    assert len(pipeline.build().acts) == 2


@mistake(
    "'decide' acts to Reply(), and http:/payments is durable=True: its sender is answered when the event is safe, "
    "before anything is decided. Leave out one of the two"
)
def test_a_sender_that_has_left_gets_no_reply(p: Any) -> None:
    stream = p.source(Http("/payments", durable=True), Http("/urgent"), schema=Payment)
    stream.act(decide, to=Reply())  # <>
