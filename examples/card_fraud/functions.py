"""The rules: plain functions, each tested by itself."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime
from zlib import crc32

from msgspec.structs import replace

from examples.card_fraud.events import Block, Decision, Features, Payment, Profile, Verdict, Weather
from penstock import Event, Reject
from penstock.models import Prediction

EUROS = {"EUR": 1.0, "USD": 0.92, "GBP": 1.17, "CHF": 1.05, "PLN": 0.23}
RISK = {
    "groceries": 0.1,
    "restaurant": 0.15,
    "fuel": 0.2,
    "travel": 0.4,
    "cash": 0.5,
    "electronics": 0.6,
    "digital": 0.7,
}
ALARMING = 0.9


def in_euros(payment: Payment) -> Payment:
    """The same payment, its amount in euros."""
    rate = EUROS.get(payment.currency)
    if rate is None:
        raise Reject(f"no rate for the currency {payment.currency!r}; there is one for {', '.join(EUROS)}")
    return replace(payment, amount=payment.amount * rate, currency="EUR")


async def weather(payment: Payment) -> Weather:
    """The weather at the terminal. Stands in for a call to a weather service, and takes as long as one nearby."""
    await asyncio.sleep(0.002)
    return conditions(payment.terminal, payment.at or 0.0)


def conditions(terminal: str, at: float) -> Weather:
    """Made-up weather that changes by the hour and differs from place to place."""
    chance = crc32(f"{terminal} {at // 3600}".encode()) / 2**32
    return Weather(rain=max(0.0, 20.0 * (chance - 0.7)), wind=2.0 + 10.0 * chance)


def features(payment: Payment, profile: Profile, weather: Weather, event: Event) -> Features:
    """What the model looks at. Training calls the same function."""
    at = datetime.fromtimestamp(event.time, UTC)
    hour = at.hour + at.minute / 60
    return Features(
        amount=payment.amount,
        log_amount=math.log1p(payment.amount),
        times_mean=payment.amount / max(profile.mean, 1.0),
        deviations=(payment.amount - profile.mean) / max(profile.spread, 1.0),
        share_of_largest=payment.amount / max(profile.largest, 1.0),
        share_of_limit=payment.amount / max(profile.limit, 1.0),
        away=float(payment.country != profile.home),
        usually_away=profile.abroad,
        online=float(payment.entry == "online"),
        usually_online=profile.online,
        magstripe=float(payment.entry == "magstripe"),
        contactless=float(payment.entry == "contactless"),
        hour=hour,
        night=float(hour < 6),
        usually_night=profile.night,
        category_risk=RISK.get(payment.category, 0.3),
        payments=profile.count,
        age_days=profile.age_days,
        declined=profile.declined,
        rain=weather.rain,
    )


def rule_of_thumb(payment: Payment, profile: Profile) -> float:
    """What decides where the model cannot: far above the card's largest payment is suspicious, more so abroad."""
    score = 0.65 if payment.amount > 3 * profile.largest else 0.05
    return score + 0.3 * (payment.country != profile.home)


def decide(payment: Payment, prediction: Prediction, event: Event) -> Decision | None:
    """The answer to a payment. One of nothing at all only asks whether the card exists, and needs none."""
    if payment.amount == 0:
        return None
    score = prediction.value
    verdict: Verdict = "decline" if score >= ALARMING else "review" if score >= 0.5 else "approve"
    model = f"{prediction.model}@{prediction.version}" if prediction.fallback is None else "rule of thumb"
    return Decision(payment.id, payment.card, verdict, round(score, 4), model, prediction.fallback or "")


def is_alarming(payment: Payment, prediction: Prediction) -> bool:
    """Whether the card itself is in danger, beyond this payment."""
    return prediction.value >= ALARMING


def block_card(payment: Payment, prediction: Prediction) -> Block:
    """The order to block a card."""
    return Block(payment.card, payment.id, round(prediction.value, 4))
