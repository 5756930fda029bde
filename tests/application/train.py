"""Trains the program's model: ten times a card's usual amount is fraud."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier

from penstock.models import promote, publish
from tests.application.events import Features


def main() -> None:
    """Train on made-up payments, publish, promote."""
    random = np.random.default_rng(7)
    mean = 10 ** random.uniform(0, 4, 1200)
    times = random.choice([1.0, 2.0, 20.0, 40.0], 1200)
    x = np.column_stack([mean * times, times, random.integers(0, 2, 1200)])
    y = times > 10
    model = GradientBoostingClassifier(n_estimators=30, max_depth=2, random_state=0).fit(x[:900], y[:900])
    version = publish(model, "test-fraud", x[900:], y[900:], features=Features, trained_on=(x[:900], y[:900]))
    promote(version, "champion")


if __name__ == "__main__":
    main()
