"""A version loaded for serving: checked, warmed, measured. Needs numpy and onnxruntime, nothing that trains."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from time import thread_time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from penstock.errors import ConfigError
from penstock.models.manifest import InputType, Manifest, Version
from penstock.models.prediction import Prediction
from penstock.models.registry import MODEL, Registry
from penstock.models.rows import Row, RowMaker

if TYPE_CHECKING:
    import numpy

TENSOR = "X"
"""Name of the one input of a model whose rows are packed."""

_Scores: TypeAlias = "numpy.ndarray[Any, Any]"
_TYPES: dict[InputType, str] = {"float32": "float32", "float64": "float64", "string": "object"}


class Cost(NamedTuple):
    """What a run takes, measured when the model was loaded: seconds for any run, and for each row."""

    run: float
    row: float


class Model:
    """One version, ready to answer. It never changes: who holds it can put another in its place between two events.

    Made by `load`, which also warms it. `run` may be called from any thread. A row is what `row_for` makes of
    features, and belongs to this model.

    - `name`, `version`: who answers, as predictions carry it.
    - `inputs`: the feature names, in order.
    - `cost`: what a run takes on this machine.
    """

    def __init__(self, version: Version, content: bytes, *, max_batch: int = 128) -> None:
        manifest = version.manifest
        self.name = version.name
        self.version = str(version.number)
        self.manifest: Manifest = manifest
        self.inputs = tuple(entry.name for entry in manifest.inputs)
        self.max_batch = max_batch
        self._rows = RowMaker(str(version), manifest.inputs, packed=manifest.packed)
        self._run = _open(content, str(version))
        self._feed = _packed_feed(manifest) if manifest.packed else _column_feed(manifest)
        self._outputs = [manifest.output]
        self._read = _reader(manifest, self.version)
        self.cost = Cost(0.0, 0.0)

    @classmethod
    def load(cls, registry: Registry, ref: str, *, max_batch: int = 128) -> Model:
        """Load `name@alias` or `name@3`: its files checked against their digests, tried, warmed and measured.

        Blocks for as long as that takes. Raises `ConfigError` (no such version, not what was published, computes
        otherwise here) or `Unavailable` (the registry does not answer).
        """
        version = registry.resolve(ref)
        model = cls(version, registry.read(version, MODEL), max_batch=max_batch)
        model.warm()
        return model

    def __repr__(self) -> str:
        return f"Model({self.name}@{self.version})"

    def row_for(self, features_type: Any) -> Callable[[Any], Row]:
        """The function from features of this type to a row of this model: see `RowMaker.row_for`."""
        return self._rows.row_for(features_type)

    def run(self, rows: Sequence[Row]) -> list[Prediction]:
        """Answer rows, in order, in one run. Raises if any of them cannot be answered; alone, it says which feature."""
        feed, finite = self._feed(rows)
        if not finite:
            for row in rows:
                self._rows.explain(self._rows.unpack(row))
        return self._read(self._run(self._outputs, feed)[0])

    def warm(self) -> None:
        """Try a typical row, compare its answer with the published one, and run it, alone and in a full batch, until
        both are at their pace. That pace is `cost`.
        """
        probe = self.manifest.probe
        row = self.row_for(list)(probe.row)
        answer = self.run([row])[0].value
        if not math.isclose(answer, probe.value, rel_tol=1e-3, abs_tol=1e-3):
            raise ConfigError(
                f"{self.name}@{self.version} computes otherwise here: {answer:.6g} where {probe.value:.6g} was "
                f"published; compare onnxruntime's version and the locale with the manifest's"
            )
        one, many = self._fastest([row]), self._fastest([row] * self.max_batch)
        each = max(0.0, (many - one) / max(1, self.max_batch - 1))
        self.cost = Cost(max(0.0, one - each), each)

    def _fastest(self, rows: Sequence[Row], times: int = 5) -> float:
        """Seconds of the fastest of a few runs. The first of a size is many times slower, and is one of them."""
        best = math.inf
        for _ in range(times):
            start = thread_time()
            self.run(rows)
            best = min(best, thread_time() - start)
        return best


def _open(content: bytes, model: str) -> Callable[..., Any]:
    """The run method of an ONNX Runtime session that uses the calling thread alone."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(f"{model} needs onnxruntime: pip install 'penstock[onnx]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base but Exception
        raise ConfigError(f"{model} cannot be loaded by onnxruntime {onnxruntime.__version__}: {error}") from error
    run: Callable[..., Any] = session.run
    return run


def _packed_feed(manifest: Manifest) -> Callable[[Sequence[Row]], tuple[dict[str, Any], bool]]:
    """From packed rows to the one tensor, and whether all its numbers are allowed."""
    from numpy import flatnonzero, frombuffer, isfinite

    dtype = _TYPES[manifest.inputs[0].type]
    width = len(manifest.inputs)
    missing = [entry.missing for entry in manifest.inputs]
    strict = flatnonzero([not may for may in missing])

    def feed(rows: Sequence[Row]) -> tuple[dict[str, Any], bool]:
        table = frombuffer(b"".join(rows), dtype).reshape(-1, width)  # type: ignore[arg-type]
        checked = table[:, strict] if any_missing else table
        # Looking for a zero byte among the flags is the fastest way there is to ask whether all of them are set.
        return {TENSOR: table}, b"\0" not in isfinite(checked).tobytes()

    any_missing = any(missing)
    return feed


def _column_feed(manifest: Manifest) -> Callable[[Sequence[Row]], tuple[dict[str, Any], bool]]:
    """From rows of mixed types to one tensor a column, and whether all numbers are allowed."""
    from numpy import array, errstate, isfinite

    def feed(rows: Sequence[Row]) -> tuple[dict[str, Any], bool]:
        columns = {}
        finite = True
        for entry, values in zip(manifest.inputs, zip(*rows, strict=True), strict=True):
            with errstate(over="ignore"):  # too large a number becomes infinite, and is found below
                column = array(values, _TYPES[entry.type]).reshape(-1, 1)
            if entry.type.startswith("float") and not entry.missing:
                finite = finite and bool(isfinite(column).all())
            columns[entry.name] = column
        return columns, finite

    return feed


def _reader(manifest: Manifest, version: str) -> Callable[[_Scores], list[Prediction]]:
    """From the output's numbers to predictions."""
    from numpy import isfinite

    name, labels, threshold = manifest.name, manifest.labels, manifest.threshold

    def checked(scores: _Scores) -> _Scores:
        if b"\0" in isfinite(scores).tobytes():
            raise ArithmeticError(f"{name}@{version} answered with a number that is not finite")
        return scores

    def binary(scores: _Scores) -> list[Prediction]:
        no, yes = labels
        return [
            Prediction(p, yes if p >= threshold else no, {no: q, yes: p}, name, version)
            for q, p in checked(scores).tolist()
        ]

    def multiclass(scores: _Scores) -> list[Prediction]:
        tops = checked(scores).argmax(axis=1).tolist()
        return [
            Prediction(row[top], labels[top], dict(zip(labels, row, strict=True)), name, version)
            for row, top in zip(scores.tolist(), tops, strict=True)
        ]

    def regression(scores: _Scores) -> list[Prediction]:
        return [Prediction(value, "", {}, name, version) for value in checked(scores).ravel().tolist()]

    return {"binary": binary, "multiclass": multiclass, "regression": regression}[manifest.kind]
