"""The events that flow in every benchmark: payments as JSON, from a fixed seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import msgspec

CARDS = 10_000
"""Distinct keys."""

CURRENCIES = ("EUR", "USD", "GBP", "CHF", "SEK")


class Payment(msgspec.Struct, frozen=True):
    """One payment, as the typed benchmarks decode it."""

    id: str
    card: str
    terminal: str
    amount: float
    currency: str
    at: float


@dataclass(frozen=True)
class Record:
    """A payment as a broker would hold it."""

    key: bytes
    value: bytes


def payments(count: int, *, seed: int = 1) -> list[dict[str, Any]]:
    """Payments as dicts of six fields, 150 bytes of JSON each, over `CARDS` cards.

    >>> sorted(payments(1)[0])
    ['amount', 'at', 'card', 'currency', 'id', 'terminal']
    """
    rng = random.Random(seed)
    return [
        {
            "id": f"pay-{seed}-{number:09d}",
            "card": card(rng.randrange(CARDS)),
            "terminal": f"terminal-{rng.randrange(500):04d}",
            "amount": round(rng.lognormvariate(3.5, 1.2), 2),
            "currency": rng.choice(CURRENCIES),
            "at": 1_760_000_000.0 + number * 0.01,
        }
        for number in range(count)
    ]


def records(count: int, *, seed: int = 1) -> list[Record]:
    """The same payments as bytes, with the card as key."""
    encode = msgspec.json.Encoder().encode
    return [Record(payment["card"].encode(), encode(payment)) for payment in payments(count, seed=seed)]


def card(number: int) -> str:
    """The name of a card.

    >>> card(7)
    'card-00007'
    """
    return f"card-{number:05d}"
