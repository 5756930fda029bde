"""What a model says about one event."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Prediction(msgspec.Struct, frozen=True, gc=False):
    """A model's answer for one event, with the version that gave it.

    - `value`: the probability of the positive class (two classes), the score of the top class (more than two),
      or the predicted number (regression).
    - `label`: the decided class; empty for regression.
    - `scores`: one score for each class, by label; empty for regression.
    - `model`, `version`: who answered; both empty where the application made the prediction itself.
    - `fallback`: why a fallback answered in the model's place, else None.

    One is made for every event, so it is a Struct: a third of the cost of a NamedTuple and a tenth of a frozen
    dataclass. Make one by hand to test a function without any model:

    >>> Prediction(0.93, label="fraud").value
    0.93
    """

    value: float
    label: str = ""
    scores: Mapping[str, float] = {}
    model: str = ""
    version: str = ""
    fallback: str | None = None
