"""What flows through the pipeline, and what is known about a card."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

Verdict: TypeAlias = Literal["approve", "review", "decline"]


class Payment(Struct, frozen=True):
    """A payment that waits for a decision, as a terminal or a web shop sends it."""

    id: str
    card: str
    terminal: str
    amount: float
    currency: str = "EUR"
    country: str = "DE"
    category: str = "groceries"
    entry: str = "chip"
    at: float | None = None


class Profile(Struct, frozen=True):
    """A card's habits over the last 90 days, in euros and shares of its payments.

    The store keeps it as the hash `card:{card}`.
    """

    home: str
    count: int
    mean: float
    spread: float
    largest: float
    limit: float
    age_days: float
    abroad: float
    online: float
    night: float
    declined: int


NEW_CARD = Profile("DE", 0, 60.0, 60.0, 60.0, 1000.0, 0.0, 0.05, 0.2, 0.05, 0)
"""What is assumed of a card that the store does not know."""


class Weather(Struct, frozen=True):
    """The weather at a terminal: rain in mm an hour, wind in m/s."""

    rain: float
    wind: float


UNKNOWN = Weather(0.0, 3.0)
"""What is assumed where the weather service does not answer in time."""


class Features(Struct, frozen=True):
    """What the model looks at, in its order."""

    amount: float
    log_amount: float
    times_mean: float
    deviations: float
    share_of_largest: float
    share_of_limit: float
    away: float
    usually_away: float
    online: float
    usually_online: float
    magstripe: float
    contactless: float
    hour: float
    night: float
    usually_night: float
    category_risk: float
    payments: float
    age_days: float
    declined: float
    rain: float


class Decision(Struct, frozen=True):
    """What is answered to the terminal, and kept in the topic `decisions`."""

    payment: str
    card: str
    verdict: Verdict
    score: float
    model: str
    reason: str = ""


class Block(Struct, frozen=True):
    """An order to block a card."""

    card: str
    because_of: str
    score: float
