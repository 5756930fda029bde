"""Trains the model on made-up payments of the past and publishes it. Not part of what serves.

penstock models train examples/card_fraud/train.py
python -m examples.card_fraud.train
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from examples.card_fraud.events import Features
from examples.card_fraud.functions import conditions, features, in_euros
from examples.card_fraud.payments import Bank, Labelled
from penstock import Event
from penstock.models import Version, promote, publish, report, table

END = 1_760_000_000.0
TREES = 100


def examples(payments: Sequence[Labelled]) -> tuple[Any, list[bool]]:
    """Features of past payments, made by the function that serves, and whether they were fraud."""
    rows = []
    for payment, profile, _ in payments:
        at = payment.at or 0.0
        rows.append(features(in_euros(payment), profile, conditions(payment.terminal, at), Event(payment.id, time=at)))
    return table(rows).values, [fraud for _, _, fraud in payments]


def main(payments: int = 16_000) -> Version:
    """Train, publish, and make the new version the champion."""
    from sklearn.ensemble import GradientBoostingClassifier

    report(f"making up {payments:,} payments of 90 days")
    past = list(Bank(seed=7).past(payments, end=END))
    split = len(past) * 3 // 4
    x, y = examples(past[:split])
    held_x, held_y = examples(past[split:])

    def grown(tree: int, *_: object) -> None:
        if (tree + 1) % 20 == 0:
            report("growing trees", tree + 1, TREES)

    model = GradientBoostingClassifier(n_estimators=TREES, max_depth=3, learning_rate=0.15, random_state=0)
    model.fit(x, y, monitor=grown)
    version = publish(model, "card-fraud", held_x, held_y, features=Features, trained_on=(x, y))
    promote(version, "champion")
    return version


if __name__ == "__main__":
    main()
