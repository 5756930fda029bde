"""What functions see of a model."""

from __future__ import annotations

import msgspec
import pytest

from penstock.models import Prediction


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
