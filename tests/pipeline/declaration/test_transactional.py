"""What a transactional sink asks of the pipeline around it."""

from __future__ import annotations

import msgspec
import pytest

from penstock import DeclarationError, Pipeline
from penstock.connectors import Endpoint, Http, Kafka, Mqtt, Reply


class Step(msgspec.Struct, frozen=True):
    id: str


def decide(step: Step) -> str:
    return step.id


def pipeline(source: Endpoint, *to: Endpoint, record: Endpoint | None = None) -> Pipeline:
    made = Pipeline("steps", record=record)
    made.source(source, schema=Step, id="id").act(decide, to=list(to))
    return made


OUT = Kafka("out", transactional=True)


def test_topics_of_one_cluster_are_one_transaction() -> None:
    pipeline(Kafka("in"), OUT, Kafka("more", transactional=True)).build()
    pipeline(Kafka("in", on="eu"), Kafka("out", on="eu", transactional=True)).build()
    made = Pipeline("steps")
    steps = made.source(Kafka("in"), schema=Step, key="id")
    steps.through(Kafka("between", transactional=True), key="id").act(decide, to=OUT)
    made.build()


@pytest.mark.parametrize("other", [Kafka("more"), Kafka("more", on="eu", transactional=True), Http("http://x/y")])
def test_every_sink_is_in_the_transaction(other: Endpoint) -> None:
    with pytest.raises(DeclarationError, match="is not in it: make every sink"):
        pipeline(Kafka("in"), OUT, other).build()


@pytest.mark.parametrize("source", [Mqtt("in"), Http("/in"), Kafka("in", on="eu")])
def test_every_source_has_its_offsets_there(source: Endpoint) -> None:
    with pytest.raises(DeclarationError, match="has no offsets there"):
        pipeline(source, OUT).build()


def test_a_reply_is_in_no_transaction() -> None:
    with pytest.raises(DeclarationError):
        pipeline(Http("/in"), OUT, Reply()).build()


def test_a_record_is_in_no_transaction() -> None:
    with pytest.raises(DeclarationError, match="leave record= out"):
        pipeline(Kafka("in"), OUT, record=Kafka("record")).build()


def test_a_source_is_not_transactional() -> None:
    with pytest.raises(DeclarationError, match="so it is for sinks"):
        pipeline(OUT, Kafka("elsewhere")).build()
