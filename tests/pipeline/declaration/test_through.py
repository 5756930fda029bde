"""`through` as it is declared: what it becomes, and what is refused."""

from __future__ import annotations

from typing import Any

from penstock import Pipeline
from penstock.connectors import Http, Kafka, Mqtt, Redis, Reply
from penstock.pipeline.declaration.check import check
from penstock.pipeline.drawing import mermaid, tree
from penstock.stages import state
from tests.pipeline.doubles import Memory
from tests.pipeline.mistakes import mistake
from tests.pipeline.sales import MIDDLE, Sale, counted, seen, shops
from tests.pipeline.shop import IN, OUT, Finding, Payment, decide, double, judge, payments, same


def test_it_is_an_act_to_the_topic_and_a_source_on_it() -> None:
    pipeline: Any = Pipeline("demo")
    payments(pipeline).through(Kafka("by-shop"), key="id").act(decide, to=OUT)
    _, near, far, _ = pipeline.build()
    assert (near.kind, near.stage, near.to[0].address, near.payload) == (
        "through", "through(by-shop)", "kafka:by-shop", Payment
    )  # fmt: skip
    assert (far.kind, far.stage, far.forward, far.schema, far.key) == ("source", "by-shop", near.id, Payment, "id")
    assert far.endpoints[0].start == "earliest", "what was written before the group's first start is read too"


def test_resources_are_there_past_a_through() -> None:
    pipeline: Any = Pipeline("demo")
    pipeline.resource(client=lambda: None)
    payments(pipeline).through(MIDDLE, key="id").act(lambda payment, client: payment, to=OUT, stage="ask")
    assert list(pipeline.build().node(2).scope) == ["client"]


def test_it_is_drawn_in_line() -> None:
    pipeline, sales = shops()
    sales.through(Kafka("by-shop"), key=("shop", "card")).act(seen, to=Memory("out"))
    graph = check(pipeline)
    assert [line.rstrip() for line in tree(graph).splitlines()[1:]] == [
        "source    memory:sales",
        "│         Sale, key card, id id, time at",
        "through   kafka:by-shop",
        "│         Sale, key shop+card",
        "act       seen(event) ⇒ memory:out",
    ]
    drawn = mermaid(graph)
    assert 'e1(["kafka:by-shop"])' in drawn
    assert "e1 --> n2" in drawn
    assert "n1 --> e1" in drawn


@mistake(
    "mqtt:shops does not keep events in order by key: a through takes Kafka('...') or Redis('...')",
)
def test_through_mqtt(p: Any) -> None:
    payments(p).through(Mqtt("shops"), key="id").act(decide, to=OUT)  # <>


@mistake("https://shops does not keep events in order by key: a through takes Kafka('...') or Redis('...')")
def test_through_http(p: Any) -> None:
    payments(p).through(Http("https://shops"), key="id").act(decide, to=OUT)  # <>


@mistake("'shops' is no endpoint: write for example Kafka('shops')")
def test_through_a_name(p: Any) -> None:
    payments(p).through("shops", key="id").act(decide, to=OUT)  # <>


@mistake("kafka:shops.{region}: a through has one topic, so its name has no braces")
def test_through_many_topics(p: Any) -> None:
    payments(p).through(Kafka("shops.{region}"), key="id").act(decide, to=OUT)  # <>


@mistake("key= is None: a through is there to put events in order by another key")
def test_through_without_a_key(p: Any) -> None:
    payments(p).through(Kafka("shops"), key=None).act(decide, to=OUT)  # <>


@mistake("key= Payment has no field 'shop'; it has amount, at, card, id, owner")
def test_through_under_a_key_that_is_not_there(p: Any) -> None:
    payments(p).through(Kafka("shops"), key="shop").act(decide, to=OUT)  # <>


@mistake(
    "the type of what goes through kafka:shops is not known, so it could not be read again: "
    "annotate what the stage before returns"
)
def test_through_of_something(p: Any) -> None:
    stream = payments(p).transform(lambda payment: payment, stage="any")
    stream.through(Kafka("shops"), key=id).act(decide, to=OUT)  # <>


class Plain:
    """What JSON cannot become."""


def plain(payment: Payment) -> Plain:
    return Plain()


@mistake(
    "Plain goes through kafka:shops as JSON: Plain is a plain class: make it a msgspec Struct or a dataclass, "
    "or say how bytes become one with decode="
)
def test_through_of_what_cannot_be_read_again(p: Any) -> None:
    payments(p).transform(plain).through(Kafka("shops"), key=id).end()  # <>


@mistake(
    "kafka:payments is a source of this pipeline, at <first>, so events would go round in it: "
    "a through has a topic of its own"
)
def test_through_the_topic_that_events_come_from(p: Any) -> None:
    stream = p.source(Kafka("payments"), schema=Payment)  # <first>
    stream.through(Kafka("payments"), key="id").act(decide, to=OUT)  # <>


@mistake(
    "kafka:shops is the topic of the through at <first> already: give this one a topic of its own, "
    "or merge both streams before one through"
)
def test_two_throughs_on_one_topic(p: Any) -> None:
    stream = payments(p)
    stream.through(Kafka("shops"), key="id", stage="one").end()  # <first>
    stream.transform(double).through(Kafka("shops"), key="card", stage="two").end()  # <>


@mistake("kafka:shops is the topic of the through at <first>: use its stream instead")
def test_a_source_on_the_topic_of_a_through(p: Any) -> None:
    payments(p).through(Kafka("shops"), key="id").end()  # <first>
    p.source(Kafka("shops"), schema=Payment, stage="again").end()  # <>


@mistake(
    "'decide' acts to kafka:shops, the topic of the through at <first>: "
    "nothing else writes there, so name another topic"
)
def test_an_act_to_the_topic_of_a_through(p: Any) -> None:
    payments(p).through(Kafka("shops"), key="id").end()  # <first>
    payments_again = p.source(Kafka("more"), schema=Payment)
    payments_again.act(decide, to=[OUT, Kafka("shops")])  # <>


@mistake(
    "'decide' acts to Reply(), but no Http source leads to it, so nobody waits for the answer: "
    "past the through at <first> the request is over"
)
def test_a_reply_past_a_through(p: Any) -> None:
    stream = p.source(Http("/payments"), schema=Payment)
    far = stream.through(Kafka("shops"), key="id")  # <first>
    far.act(decide, to=Reply())  # <>


@mistake(
    "judge() asks for 'profile', which nothing before it adds: it was added at <first>, "
    "and names end at the through at <second>: add it again after it"
)
def test_names_end_at_a_through(p: Any) -> None:
    known = payments(p).enrich(profile=Finding())  # <first>
    far = known.through(Kafka("shops"), key="id")  # <second>
    far.transform(double).act(judge, to=OUT)  # <>


@mistake(
    "the stream of the through 'shops' leads nowhere: add .act(..., to=...), "
    "or .end() if it is kept for what its stages do"
)
def test_a_through_leads_somewhere(p: Any) -> None:
    payments(p).through(Kafka("shops"), key="id")  # <>


def test_a_redis_stream_and_two_connections_are_topics_of_their_own() -> None:
    pipeline: Any = Pipeline("demo")
    stream = payments(pipeline)
    stream.through(Redis("shops", partitions=2), key="id").end()
    stream.transform(same).through(Redis("shops", on="eu"), key="id", stage="eu").end()
    assert [node.stage for node in pipeline.build().sources] == ["payments", "shops", "eu"]


@mistake(
    "http:/sales may bring an event twice, and nothing tells a repeat from a new event, so that 'count' would count it "
    "twice: name the field that does, id='...', or say that every arrival counts, repeats='counted'"
)
def test_repeats_are_told_apart_before_a_through_where_state_is_after_it(p: Any) -> None:
    sales = p.source(Http("/sales"), schema=Sale)  # <>
    sales.through(MIDDLE, key="shop").enrich(count=state(int, by="shop", update=counted)).end()


def test_stages_before_and_after_are_checked_as_ever() -> None:
    pipeline: Any = Pipeline("demo")
    pipeline.source(IN, schema=Payment).through(MIDDLE, key="id").act(decide, to=OUT)
    assert len(pipeline.build().acts) == 2
