"""What a training script calls: publish an estimator as an immutable version, and move an alias to it.

    from penstock.models import promote, publish, report

    report("training")
    model = GradientBoostingClassifier().fit(X_train, y_train)
    version = publish(model, "card-fraud", X_test, y_test, features=Features, trained_on=(X_train, y_train))
    promote(version, "champion")

Run it with Python, or with `penstock models train FILE`, which shows the progress and lists what was published.
Nothing here is needed, or imported, to serve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from penstock.errors import NotPublished
from penstock.models.evaluation import compare, evaluate, kind_of, labels_of, predict
from penstock.models.export import export
from penstock.models.lineage import data_of, lineage_of
from penstock.models.manifest import Comparison, Input, Manifest, Probe, Version
from penstock.models.registry import MODEL, Move, Registry
from penstock.models.script import current, report
from penstock.models.session import Model
from penstock.models.tabular import held_out, inputs_of, names_of, typical

_EXACT_IN_32_BITS = 2.0**24


def publish(
    estimator: Any,
    name: str,
    X: Any,  # noqa: N803
    y: Any,
    *,
    features: Sequence[str] | type | None = None,
    registry: Registry | str | None = None,
    metrics: Mapping[str, float] | None = None,
    lineage: Mapping[str, Any] | None = None,
    trained_on: tuple[Any, Any] | None = None,
    threshold: float = 0.5,
    tolerance: float = 1e-4,
    allowed: float = 0.001,
    precision: Literal["float32", "float64"] = "float32",
    timeout: float = 120.0,
) -> Version:
    """Evaluate a fitted scikit-learn estimator, export it to ONNX, hold the two against each other, store a version.

    - `X`, `y`: held-out rows (an array or a DataFrame, of shape (rows, features)) and their outcomes. They judge the
      model and its export, so they should not be what it was trained on, and cover what will come.
    - `features`: the columns' names in order, or the type a features function returns. By default the names of the
      DataFrame that the estimator was fitted on.
    - `registry`: by default `PENSTOCK_MODELS`, else the folder `.penstock/models`.
    - `metrics`, `lineage`: more figures and facts for the manifest. `trained_on` adds the training data's digest.
    - `threshold`: the probability from which the positive class is decided (two classes only).
    - `tolerance`, `allowed`: the version is refused if more than the share `allowed` of the rows is off by more than
      `tolerance`.
    - `precision`: the numbers' size in the exported model; float64 where 32 bits are too coarse.
    - `timeout`: seconds the conversion may take.

    Raises `NotPublished` where the model is refused (nothing is written then), `ConfigError` or `Unavailable` where
    the registry cannot be written.
    """
    opened = current().open(registry)
    names = names_of(features, estimator, X)
    kind = kind_of(estimator)
    values = held_out(X, names)
    inputs = inputs_of(values, names, precision)

    report(f"evaluating {name} on {len(values):,} held-out rows", 1, 4)
    found = predict(estimator, X, kind)
    figures = {**evaluate(estimator, kind, found, y, threshold), **(metrics or {})}

    report(f"exporting {name} to ONNX", 2, 4)
    packed = _is_packed(estimator, inputs, X)
    content, output = export(estimator, inputs, packed=packed, classifier=kind != "regression", timeout=timeout)

    report(f"comparing {name} with its export", 3, 4)
    manifest = Manifest(
        name=name,
        kind=kind,
        inputs=inputs,
        output=output,
        probe=Probe([], 0.0),
        comparison=Comparison(0, tolerance, 0.0, 0.0, 0.0),
        packed=packed,
        labels=labels_of(estimator, kind),
        threshold=threshold,
        metrics=figures,
        lineage={**lineage_of(estimator), "held_out": data_of(values, y), **(lineage or {})},
    )
    if trained_on is not None:
        manifest.lineage["trained_on"] = data_of(*trained_on)
    model = Model(Version(name, 0, manifest), content)
    comparison = compare(model, values.tolist(), found, kind, tolerance=tolerance)
    if comparison.off > allowed:
        raise NotPublished(_refusal(name, manifest, comparison, allowed, estimator, values))
    row = typical(values, inputs)
    answer = model.run([model.row_for(list)(row)])[0].value
    manifest = msgspec.structs.replace(manifest, comparison=comparison, probe=Probe(row, answer))

    version = opened.publish(manifest, {MODEL: content})
    current().published.append(version)
    shown = ", ".join(f"{metric} {value:.4g}" for metric, value in figures.items())
    report(f"published {version} to {opened.address}: {shown}", 4, 4)
    return version


def promote(
    version: Version | str, alias: str = "champion", *, registry: Registry | str | None = None, note: str = ""
) -> Move:
    """Move an alias to a version (or to what `name@3` names). What it was before stays in its history.

    Raises `ConfigError` where there is no such version.
    """
    opened = current().open(registry)
    if isinstance(version, str):
        version = opened.resolve(version)
    move = opened.promote(version, alias, note=note)
    current().moves.append((version, alias))
    report(f"{version.name}@{alias} is now version {version.number}")
    return move


def _is_packed(estimator: Any, inputs: Sequence[Input], X: Any) -> bool:  # noqa: N803
    """Whether all columns can be one tensor: they are numbers, and no step of the estimator picks some by name."""
    if any(entry.type == "string" for entry in inputs):
        return False
    return not hasattr(X, "columns") or not any(_picks_by_name(step) for step in [estimator, *_parts(estimator)])


def _parts(estimator: Any) -> list[Any]:
    return list(estimator.get_params(deep=True).values()) if hasattr(estimator, "get_params") else []


def _picks_by_name(step: Any) -> bool:
    return type(step).__name__ == "ColumnTransformer" and any(
        isinstance(column, str) for _, _, columns in step.transformers for column in (columns if columns else [])
    )


def _refusal(name: str, manifest: Manifest, comparison: Comparison, allowed: float, estimator: Any, values: Any) -> str:
    text = (
        f"{name} was not published: once exported it is another model. Of {comparison.rows:,} held-out rows "
        f"{comparison.off:.2%} are off by more than {comparison.tolerance:g} (at most {comparison.largest:.3g}; "
        f"{allowed:.2%} are allowed)"
    )
    if manifest.kind == "binary":
        text += f", and {comparison.flipped:.2%} of the decisions at the threshold {manifest.threshold:g} flip"
    elif manifest.kind == "multiclass":
        text += f", and {comparison.flipped:.2%} of the decisions flip"
    hints = _hints(manifest, estimator, values)
    return ". ".join([text, *hints]) if hints else text


def _hints(manifest: Manifest, estimator: Any, values: Any) -> list[str]:
    """What is known to go wrong, where this model has it."""
    import numpy

    hints = []
    large = [
        entry.name
        for entry, column in zip(manifest.inputs, values.T, strict=True)
        if entry.type == "float32" and numpy.nanmax(numpy.abs(column.astype(float))) > _EXACT_IN_32_BITS
    ]
    if large:
        hints.append(
            f"{', '.join(large)}: too large for 32 bits to tell neighbours apart (seconds since the epoch?); give "
            f"differences instead, or publish with precision='float64'"
        )
    parts = [estimator, *_parts(estimator)]
    if any(
        "HistGradientBoosting" in type(part).__name__ and part.is_categorical_ is not None
        for part in parts
        if _fitted(part)
    ):
        hints.append(
            "HistGradientBoosting with categorical_features is converted wrongly: encode those columns one-hot"
        )
    if any(getattr(part, "method", None) == "isotonic" for part in parts):
        hints.append(
            "isotonic calibration has steps that 32 bits step over: use method='sigmoid', or precision='float64'"
        )
    return hints


def _fitted(part: Any) -> bool:
    return hasattr(part, "is_categorical_")
