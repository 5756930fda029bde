"""What flows through the program."""

from __future__ import annotations

from msgspec import Struct


class Payment(Struct, frozen=True):
    """A payment. Its terminal comes from the MQTT topic where it comes that way."""

    id: str
    card: str
    terminal: str
    amount: float
    currency: str = "EUR"
    at: float | None = None


class Profile(Struct, frozen=True):
    """A card's habits, as the store's hash `card:{card}` has them."""

    mean: float


NEW_CARD = Profile(10.0)


class Weather(Struct, frozen=True):
    """Rain in mm an hour."""

    rain: float


UNKNOWN = Weather(0.0)


class Features(Struct, frozen=True):
    """What the model looks at, in its order."""

    amount: float
    times_mean: float
    rain: float


class Decision(Struct, frozen=True):
    """What is answered, and kept in the topic of decisions. `mean` tells whose profile was found."""

    payment: str
    card: str
    terminal: str
    approved: bool
    mean: float
    model: str


class Block(Struct, frozen=True):
    """An order to block a card."""

    card: str
    because_of: str
