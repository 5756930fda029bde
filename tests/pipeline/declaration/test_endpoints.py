# Functions here are only declared.
# mypy: disable-error-code="empty-body"
"""Endpoints on the right side, and templates whose braces can be filled."""

from __future__ import annotations

from typing import Any

from penstock import Action, Pipeline
from penstock.connectors.http.endpoint import Http, Reply
from penstock.connectors.kafka.endpoint import Kafka
from penstock.connectors.memory import Memory
from penstock.connectors.mqtt.endpoint import Mqtt
from penstock.pipeline.declaration.endpoints import acted
from tests.pipeline.mistakes import mistake
from tests.pipeline.shop import IN, OUT, Decision, Payment, decide, payments


@mistake("'payments' is no endpoint: write for example Kafka('payments')")
def test_text_is_no_source(p: Any) -> None:
    p.source("payments", schema=Payment).end()  # <>


@mistake("'decisions' is no endpoint: write for example Kafka('decisions')")
def test_text_is_no_sink(p: Any) -> None:
    payments(p).act(decide, to="decisions")  # <>


@mistake("Kafka is a class: write for example Kafka('payments')")
def test_a_class_is_no_endpoint(p: Any) -> None:
    payments(p).act(decide, to=[Kafka])  # <>


@mistake("source() is given a list: give it endpoints one after another")
def test_a_list_is_no_source(p: Any) -> None:
    p.source([IN, OUT], schema=Payment).end()  # <>


@mistake("7 is no endpoint: write for example Kafka('payments')")
def test_a_record_goes_to_an_endpoint(p: Any) -> None:
    wrong: Any = Pipeline("demo", record=7)  # type: ignore[arg-type]  # <>
    p.where, p.record = wrong.where, wrong.record
    payments(p).end()


@mistake("act 'decide' goes nowhere: name an endpoint in to=")
def test_an_act_without_endpoints(p: Any) -> None:
    payments(p).act(decide, to=[])  # <>


@mistake("act 'decide' names memory:decisions twice in to=")
def test_an_act_to_one_endpoint_twice(p: Any) -> None:
    payments(p).act(decide, to=[OUT, OUT])  # <>


@mistake("Reply() answers a request, so nothing comes in through it: use it in to=")
def test_a_reply_is_no_source(p: Any) -> None:
    p.source(Reply(), schema=Payment).end()  # <>


@mistake("https://shop.example/payments is a URL: a source listens on a path, like Http('/payments')")
def test_a_url_is_no_source(p: Any) -> None:
    p.source(Http("https://shop.example/payments"), schema=Payment).end()  # <>


@mistake("http:/block is a path: an action goes to a URL, like Http('https://host/block')")
def test_a_path_is_no_sink(p: Any) -> None:
    payments(p).act(decide, to=Http("/block"))  # <>


@mistake("mqtt:plants/+/alarms: + and # are for sources; an action goes to one topic")
def test_a_wildcard_is_no_sink(p: Any) -> None:
    payments(p).act(decide, to=Mqtt("plants/+/alarms"))  # <>


@mistake("mqtt:plants/a+b: + is a whole level, # is the whole last level")
def test_a_wildcard_is_a_whole_level(p: Any) -> None:
    p.source(Mqtt("plants/a+b"), schema=Payment).end()  # <>


@mistake("'memory:{card': braces hold one field name each, like {card}")
def test_a_brace_that_is_not_closed(p: Any) -> None:
    p.source(Memory("{card"), schema=Payment).end()  # <>


@mistake("mqtt:cards/{crad}/payments: Payment has no field 'crad': did you mean 'card'?")
def test_a_capture_fills_a_field_that_is_there(p: Any) -> None:
    p.source(Mqtt("cards/{crad}/payments"), schema=Payment).end()  # <>


@mistake("kafka:decisions.{regoin}: neither Decision nor Payment has a field 'regoin': did you mean 'region'?")
def test_a_brace_is_filled_from_the_action_or_the_payload(p: Any) -> None:
    payments(p).act(decide, to=Kafka("decisions.{regoin}"))  # <>


def one_of(payment: Payment) -> Payment: ...


@mistake("kafka:out.{region}: Payment has no field 'region'; it has amount, at, card, id, owner")
def test_a_brace_where_action_and_payload_are_of_one_type(p: Any) -> None:
    payments(p).act(one_of, to=Kafka("out.{region}"))  # <>


def listed(payment: Payment) -> list[Action[Decision]]: ...


def test_braces_that_can_be_filled() -> None:
    pipeline: Any = Pipeline("demo")
    stream = payments(pipeline)
    stream.act(decide, to=[Kafka("by.{region}"), Mqtt("cards/{card}/{owner.id}")])
    stream.act(listed, to=Kafka("by.{region}"))
    stream.act(lambda payment: {}, to=Kafka("by.{region}.{anything}"), stage="free")
    assert len(pipeline.build().acts) == 3


def test_what_an_act_hands_over() -> None:
    assert acted(list[Action[Decision] | None] | Payment | None) == (Decision, Payment)
    assert acted(Action) == (Any,)
    assert acted(Any) == (Any,)
