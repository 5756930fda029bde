"""The program that the documentation begins with, its window a lookup, its topics named by the test that runs it."""

from __future__ import annotations

import asyncio
import os

from penstock import Pipeline, Reject, call
from penstock.connectors import Http, Kafka, Mqtt, Reply
from penstock.models import Prediction
from penstock.stages import lookup
from tests.application.events import NEW_CARD, UNKNOWN, Block, Decision, Features, Payment, Profile, Weather

TOPICS = os.environ.get("FRAUD_TOPICS", "")
CARDS = os.environ.get("FRAUD_CARDS", "http://127.0.0.1:1/")
WEATHER_SECONDS = float(os.environ.get("FRAUD_WEATHER_SECONDS", "0.001"))
SLOTS = int(os.environ.get("FRAUD_SLOTS", "256"))


def in_euros(payment: Payment) -> Payment:
    """Only euros are known here."""
    if payment.currency != "EUR":
        raise Reject(f"no rate for the currency {payment.currency!r}")
    return payment


async def weather(payment: Payment) -> Weather:
    """Stands for a slow service."""
    await asyncio.sleep(WEATHER_SECONDS)
    return Weather(rain=1.0)


def features(payment: Payment, profile: Profile, weather: Weather) -> Features:
    """What the model looks at."""
    return Features(payment.amount, payment.amount / profile.mean, weather.rain)


def rule_of_thumb(payment: Payment, profile: Profile) -> float:
    """What decides where the model does not answer in time."""
    return float(payment.amount > 10 * profile.mean)


def decide(payment: Payment, profile: Profile, prediction: Prediction) -> Decision | None:
    """A payment of nothing only asks whether the card is there: no decision."""
    if payment.amount == 0:
        return None
    model = "rule of thumb" if prediction.fallback is not None else f"{prediction.model}@{prediction.version}"
    return Decision(payment.id, payment.card, payment.terminal, prediction.value < 0.5, profile.mean, model)


def is_alarming(payment: Payment, prediction: Prediction) -> bool:
    """Whether the card itself is in danger."""
    return prediction.value >= 0.5


def block_card(payment: Payment) -> Block:
    """The order to block a card."""
    return Block(payment.card, payment.id)


fraud = Pipeline("card-fraud", latency_budget="250ms", concurrency=SLOTS)

payments = fraud.source(
    Kafka(f"{TOPICS}payments"),
    Mqtt(f"{TOPICS}terminals/{{terminal}}/payments"),
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
        weather=call(weather, timeout="50ms", default=UNKNOWN, cache="1m"),
    )
    .infer("test-fraud@champion", features, fallback=rule_of_thumb)
)
scored.act(decide, to=[Kafka(f"{TOPICS}decisions"), Reply()])
scored.filter(is_alarming).act(block_card, to=Http(CARDS))
