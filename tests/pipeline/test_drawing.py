"""Graphs as text trees and Mermaid flowcharts."""

from __future__ import annotations

from msgspec import Struct

from penstock import Pipeline, call, merge
from penstock.connectors import Http, Kafka, Reply
from penstock.models import Prediction
from penstock.pipeline.drawing import mermaid, tree
from penstock.stages import lookup


class Payment(Struct, frozen=True):
    id: str
    card: str
    amount: float


def cleaned(payment: Payment) -> Payment:
    return payment


async def weather(payment: Payment) -> float:
    return payment.amount


def row(payment: Payment, weather: float, extra: int = 0) -> dict[str, float]:
    return {"amount": payment.amount + weather + extra}


def guess(payment: Payment) -> float:
    return 0.5


def large(payment: Payment) -> bool:
    return payment.amount > 100


def decide(payment: Payment, prediction: Prediction) -> Payment:
    return payment


def note(payment: Payment) -> Payment:
    return payment


def pipeline() -> Pipeline:
    one = Pipeline("fraud", latency_budget="250ms")
    scored = (
        one.source(Kafka("payments"), Http("/payments"), schema=Payment, key="card", id="id")
        .transform(cleaned)
        .enrich(
            weather=call(weather, timeout="50ms", default=1.0), known=lookup("card:{card}", dict[str, str], cache="1m")
        )
        .infer("fraud@champion", row, fallback=guess)
    )
    scored.act(decide, to=[Kafka("decisions"), Reply()])
    yes, no = scored.split(large)
    merge(yes.transform(cleaned, stage="again"), no).act(note, to=Kafka("notes"))
    return one


def test_the_tree() -> None:
    drawn = tree(pipeline().build())
    assert [line.rstrip() for line in drawn.splitlines()] == [
        "fraud  (order by key, 256 in flight, latency budget 250 ms)",
        "source    kafka:payments, http:/payments",
        "│         Payment, key card, id id",
        "transform cleaned() → Payment",
        "enrich    weather = weather() [async, within 50 ms]",
        '│         known = lookup("card:{card}", cache 60 s) → dict[str, str] | None',
        "infer     prediction = fraud@champion",
        "│         from row(weather, extra=default)",
        "│         fallback guess()",
        "├─ act       decide(prediction) ⇒ kafka:decisions, reply",
        "├─ filter    large()",
        "│  transform again: cleaned() → Payment",
        "│  merge     Payment",
        "│  act       note() ⇒ kafka:notes",
        "└─ filter    not large()",
        "   merge     (drawn above)",
    ]


def test_the_flowchart() -> None:
    drawn = mermaid(pipeline().build()).splitlines()
    assert drawn[0] == "flowchart LR"
    assert '    n3["infer fraud@champion"]' in drawn
    assert "    n3 --> n4" in drawn
    assert '    e0(["kafka:payments"])' in drawn
    assert "    e0 --> n0" in drawn
