"""How good an estimator is on held-out rows, and how far its exported model is from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock.errors import ConfigError, NotPublished
from penstock.models.manifest import Comparison, Kind
from penstock.models.session import Model

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray


def kind_of(estimator: Any) -> Kind:
    """What an estimator predicts. Raises `NotPublished` for one that penstock cannot serve."""
    try:
        from sklearn.base import is_classifier, is_regressor
    except ImportError as error:
        raise ConfigError(f"training needs scikit-learn: pip install 'penstock[train]' ({error})") from error
    name = type(estimator).__name__
    if is_regressor(estimator):
        return "regression"
    if not is_classifier(estimator):
        raise NotPublished(f"{name} is neither a classifier nor a regressor, so there is no prediction to serve")
    if not hasattr(estimator, "predict_proba"):
        raise NotPublished(f"{name} gives no probabilities: wrap it in CalibratedClassifierCV, or use one that does")
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        raise NotPublished(f"{name} is not fitted: call fit before publish")
    if len(classes) < 2:
        raise NotPublished(f"{name} was fitted on one class only ({classes[0]}); give it examples of each")
    return "binary" if len(classes) == 2 else "multiclass"


def labels_of(estimator: Any, kind: Kind) -> list[str]:
    """The classes as texts, in the order of the probabilities' columns."""
    if kind == "regression":
        return []
    return [str(label.item() if hasattr(label, "item") else label) for label in estimator.classes_]


def predict(estimator: Any, X: Any, kind: Kind) -> NDArray[numpy.float64]:  # noqa: N803
    """What the estimator says: probabilities of shape (rows, classes), or numbers of shape (rows, 1)."""
    import numpy

    found = estimator.predict(X) if kind == "regression" else estimator.predict_proba(X)
    table = numpy.asarray(found, dtype=numpy.float64)
    if kind == "regression":
        table = table.reshape(len(table), -1)
        if table.shape[1] != 1:
            raise NotPublished(f"the estimator predicts {table.shape[1]} numbers a row; publish one estimator for each")
    return table


def evaluate(estimator: Any, kind: Kind, found: Any, y: Any, threshold: float) -> dict[str, float]:
    """The usual figures for predictions on rows whose outcome is known."""
    import numpy
    import sklearn.metrics

    metrics: Any = sklearn.metrics
    y = numpy.asarray(y)
    if kind == "regression":
        guess = found[:, 0]
        return {
            "mae": float(metrics.mean_absolute_error(y, guess)),
            "rmse": float(metrics.mean_squared_error(y, guess)) ** 0.5,
            "r2": float(metrics.r2_score(y, guess)),
        }
    classes = list(estimator.classes_)
    if kind == "multiclass":
        guess = estimator.classes_[found.argmax(axis=1)]
        return {
            "accuracy": float(metrics.accuracy_score(y, guess)),
            "f1": float(metrics.f1_score(y, guess, average="macro", zero_division=0.0)),
            "log_loss": float(metrics.log_loss(y, found, labels=classes)),
        }
    actual, score = y == classes[1], found[:, 1]
    decided = score >= threshold
    figures = {
        "accuracy": float(metrics.accuracy_score(actual, decided)),
        "precision": float(metrics.precision_score(actual, decided, zero_division=0.0)),
        "recall": float(metrics.recall_score(actual, decided, zero_division=0.0)),
        "log_loss": float(metrics.log_loss(actual, score, labels=[False, True])),
        "positives": float(actual.mean()),
    }
    if 0.0 < figures["positives"] < 1.0:
        figures = {"auc": float(metrics.roc_auc_score(actual, score)), **figures}
    return figures


def compare(model: Model, rows: list[list[Any]], expected: Any, kind: Kind, *, tolerance: float) -> Comparison:
    """Serve held-out rows with the exported model, and hold its answers against the estimator's (`expected`).

    A row is off where any of its scores is further than `tolerance` from the estimator's (for numbers beyond 1 in
    size, that share of them). A decision is flipped where the label differs.
    """
    import numpy

    make = model.row_for(list)
    packed = [make(row) for row in rows]
    answers = [answer for start in range(0, len(rows), 1024) for answer in model.run(packed[start : start + 1024])]
    if kind == "regression":
        got = numpy.array([[answer.value] for answer in answers])
        flipped = 0.0
    else:
        labels = model.manifest.labels
        got = numpy.array([[answer.scores[label] for label in labels] for answer in answers])
        if kind == "binary":
            wanted = [labels[int(decided)] for decided in expected[:, 1] >= model.manifest.threshold]
        else:
            wanted = [labels[top] for top in expected.argmax(axis=1)]
        flipped = sum(answer.label != label for answer, label in zip(answers, wanted, strict=True)) / len(rows)
    distance = numpy.abs(got - expected) / numpy.maximum(1.0, numpy.abs(expected))
    worst = distance.max(axis=1)
    return Comparison(len(rows), tolerance, float((worst > tolerance).mean()), flipped, float(worst.max()))
