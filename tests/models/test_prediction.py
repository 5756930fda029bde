"""What functions see of a model."""

from __future__ import annotations

import math

import msgspec
import pytest

from penstock.models import Prediction, fall_back


def test_a_prediction_is_made_by_hand_with_a_value_alone() -> None:
    prediction = Prediction(0.7)
    assert (prediction.label, dict(prediction.scores), prediction.model, prediction.version) == ("", {}, "", "")
    assert prediction.fallback is None


def test_a_prediction_does_not_change() -> None:
    with pytest.raises(AttributeError):
        Prediction(0.7).value = 0.8  # type: ignore[misc]


def test_a_prediction_goes_out_as_json() -> None:
    prediction = Prediction(0.5, "fraud", {"ok": 0.5, "fraud": 0.5}, "card-fraud", "3")
    assert msgspec.json.decode(msgspec.json.encode(prediction), type=Prediction) == prediction


def test_what_a_fallback_answers_is_marked() -> None:
    assert fall_back(0.25, "deadline", model="m") == Prediction(0.25, model="m", fallback="deadline")
    named = fall_back("fraud", "failed")
    assert math.isnan(named.value)
    assert (named.label, named.fallback) == ("fraud", "failed")
    whole = fall_back(Prediction(0.5, "ok", {"ok": 0.5}), "deadline", model="m")
    assert (whole.value, whole.label, whole.scores, whole.model, whole.fallback) == (
        0.5,
        "ok",
        {"ok": 0.5},
        "m",
        "deadline",
    )
