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


def fall_back(answer: Prediction | float | str, reason: str, *, model: str = "") -> Prediction:
    """The prediction a fallback's answer stands for, marked with `reason`: a number is a value, a text is a label.

    >>> fall_back(0.5, "deadline").fallback
    'deadline'
    >>> fall_back("fraud", "failed").label
    'fraud'
    """
    if isinstance(answer, Prediction):
        return Prediction(answer.value, answer.label, answer.scores, answer.model or model, answer.version, reason)
    if isinstance(answer, str):
        return Prediction(float("nan"), answer, {}, model, "", reason)
    return Prediction(float(answer), "", {}, model, "", reason)
