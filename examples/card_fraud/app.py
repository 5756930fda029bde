"""The pipeline: where payments come from, what is found out about each, what is decided, where decisions go."""

from __future__ import annotations

from examples.card_fraud.events import NEW_CARD, UNKNOWN, Payment, Profile
from examples.card_fraud.functions import block_card, decide, features, in_euros, is_alarming, rule_of_thumb, weather
from penstock import Pipeline, call
from penstock.connectors import Http, Kafka, Mqtt, Reply
from penstock.stages import lookup

fraud = Pipeline("card-fraud", latency_budget="250ms")

payments = fraud.source(
    Kafka("payments"),
    Mqtt("terminals/{terminal}/payments"),
    Http("/payments"),
    schema=Payment,
    key="card",
    id="id",
    time="at",
)
scored = (
    payments.transform(in_euros)
    .enrich(
        profile=lookup("card:{card}", Profile, default=NEW_CARD),
        weather=call(weather, timeout="50ms", default=UNKNOWN),
    )
    .infer("card-fraud@champion", features, fallback=rule_of_thumb)
)
scored.act(decide, to=[Kafka("decisions"), Reply()])
scored.filter(is_alarming).act(block_card, to=Kafka("blocked-cards"))
