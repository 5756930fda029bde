"""What was sent and what came of it: every id in has its outcome, once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from tests.application.foreign import Record, kcat_consume


def payment(number: str, card: str, amount: float = 12.5, **more: object) -> str:
    """A payment as a line of JSON."""
    return json.dumps({"id": number, "card": card, "terminal": "T-0", "amount": amount, **more})


def payments(name: str, count: int, *, cards: int = 50) -> list[str]:
    """Payments `name-0` ... of many cards, each card's in rising order."""
    return [payment(f"{name}-{at}", f"card-{at % cards}") for at in range(count)]


def decided(address: str, topics: str) -> list[Record]:
    """The topic of decisions, whole."""
    return kcat_consume(address, f"{topics}decisions")


def ids(records: Sequence[Record]) -> Counter[str]:
    """How often each payment was decided."""
    return Counter(json.loads(record.value)["payment"] for record in records)


def first_in_order(records: Sequence[Record]) -> dict[str, list[int]]:
    """By card, the numbers of the payments in the order in which each was first decided."""
    found: dict[str, dict[int, None]] = {}
    for record in sorted(records, key=lambda record: (record.partition, record.offset)):
        decision = json.loads(record.value)
        number = int(decision["payment"].rpartition("-")[2])
        found.setdefault(decision["card"], {}).setdefault(number)
    return {card: list(numbers) for card, numbers in found.items()}
