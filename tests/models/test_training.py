"""Publishing: what is written, and what is refused."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy
import pytest
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from penstock.errors import ConfigError, NotPublished
from penstock.models import Registry, open_registry, promote, publish, report, table
from penstock.models.export import _ending
from penstock.models.lineage import data_of
from penstock.models.script import Progress, running
from tests.models.conftest import NAMES, Data, Published


@pytest.fixture
def empty(tmp_path: Path) -> Registry:
    return open_registry(str(tmp_path / "registry"))


def test_a_version_says_what_it_is_and_where_it_comes_from(boosting: Published) -> None:
    manifest = boosting.version.manifest
    assert (manifest.kind, manifest.labels, manifest.threshold, manifest.packed) == ("binary", ["0", "1"], 0.5, True)
    assert [entry.name for entry in manifest.inputs] == NAMES
    assert {(entry.type, entry.missing) for entry in manifest.inputs} == {("float32", False)}
    assert manifest.comparison.rows == 500
    assert manifest.comparison.off == 0.0
    assert 0.9 < manifest.metrics["auc"] <= 1.0
    assert set(manifest.metrics) == {"auc", "accuracy", "precision", "recall", "log_loss", "positives"}
    assert list(manifest.files) == ["model.onnx"]
    assert manifest.lineage["estimator"].startswith("GradientBoostingClassifier(")
    assert {"scikit-learn", "skl2onnx", "onnxruntime", "numpy"} <= set(manifest.lineage["libraries"])
    assert manifest.lineage["trained_on"] == data_of(boosting.data.x, boosting.data.y)
    assert manifest.lineage["trained_on"]["rows"] == 1000
    assert manifest.created


def test_progress_is_reported_step_by_step(empty: Registry, two_classes: Data, news: list[Progress]) -> None:
    estimator = LogisticRegression().fit(two_classes.x, two_classes.y)
    report("fitted")
    version = publish(estimator, "steps", two_classes.held_x, two_classes.held_y, features=NAMES, registry=empty)
    promote(version, "champion", registry=empty)
    assert [(line.done, line.steps) for line in news] == [(0, 0), (1, 4), (2, 4), (3, 4), (4, 4), (0, 0)]
    assert news[0].text == "fitted"
    assert news[-2].text.startswith(f"published steps@1 to {empty.address}: auc 0.")
    assert news[-1].text == "steps@champion is now version 1"


def test_commands_say_where_it_goes_and_learn_what_came(empty: Registry, two_classes: Data) -> None:
    estimator = LogisticRegression().fit(two_classes.x, two_classes.y)
    with running(empty, lambda progress: None) as script:
        version = publish(estimator, "told", two_classes.held_x, two_classes.held_y, features=NAMES)
        promote("told@1")
    assert script.published == [version]
    assert script.moves == [(version, "champion")]
    assert empty.aliases("told") == {"champion": 1}


def test_the_registry_is_a_setting(tmp_path: Path, two_classes: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_MODELS", str(tmp_path / "by setting"))
    estimator = LogisticRegression().fit(two_classes.x, two_classes.y)
    publish(estimator, "set", two_classes.held_x, two_classes.held_y, features=NAMES)
    assert open_registry(str(tmp_path / "by setting")).names() == ["set"]


def test_lines_are_printed_where_nobody_listens(two_classes: Data, tmp_path: Path) -> None:
    code = "from penstock.models import report; report('training', 1, 2); report('done')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == "[1/2] training\ndone\n"


class Features(NamedTuple):
    amount: float
    age: float


def test_categories_of_hist_gradient_boosting_are_caught(empty: Registry) -> None:
    random = numpy.random.default_rng(5)
    category = random.integers(0, 12, 3000)
    amount = random.normal(size=3000)
    y = (numpy.isin(category, [1, 4, 7, 10]) ^ (amount > 1)).astype(int)
    x = numpy.column_stack([category, amount]).astype(float)
    options: Any = {"categorical_features": [0]}
    estimator = HistGradientBoostingClassifier(max_iter=50, **options).fit(x[:2000], y[:2000])
    with pytest.raises(NotPublished) as caught:
        publish(estimator, "categories", x[2000:], y[2000:], features=["category", "amount"], registry=empty)
    message = str(caught.value)
    assert "categories was not published: once exported it is another model. Of 1,000 held-out rows" in message
    assert "of the decisions at the threshold 0.5 flip" in message
    assert "encode those columns one-hot" in message
    assert not Path(empty.address).exists()


def test_seconds_since_the_epoch_are_caught(empty: Registry) -> None:
    random = numpy.random.default_rng(5)
    at = 1.7e9 + random.random(2000) * 600
    y = (at > 1.7e9 + 300).astype(int)
    estimator = Pipeline([("scale", StandardScaler()), ("model", LogisticRegression())]).fit(at[:1500, None], y[:1500])
    with pytest.raises(NotPublished, match=r"\. at: too large for 32 bits .* give differences instead"):
        publish(estimator, "times", at[1500:, None], y[1500:], features=["at"], registry=empty)


def test_isotonic_calibration_is_named(empty: Registry, two_classes: Data) -> None:
    data = two_classes
    estimator = CalibratedClassifierCV(LogisticRegression(), method="isotonic", cv=3).fit(data.x, data.y)
    with pytest.raises(NotPublished, match=r"isotonic calibration has steps"):
        publish(estimator, "isotonic", data.held_x, data.held_y, features=NAMES, registry=empty, tolerance=0, allowed=0)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (LinearSVC(), "LinearSVC gives no probabilities: wrap it in CalibratedClassifierCV"),
        (IsolationForest(n_estimators=5), "neither a classifier nor a regressor"),
    ],
)
def test_what_cannot_be_served_is_refused(empty: Registry, two_classes: Data, estimator: Any, message: str) -> None:
    estimator.fit(two_classes.x, two_classes.y)
    with pytest.raises(NotPublished, match=message):
        publish(estimator, "no", two_classes.held_x, two_classes.held_y, features=NAMES, registry=empty)


def test_an_estimator_must_be_fitted(empty: Registry, two_classes: Data) -> None:
    with pytest.raises(NotPublished, match="LogisticRegression is not fitted: call fit before publish"):
        publish(LogisticRegression(), "no", two_classes.held_x, two_classes.held_y, features=NAMES, registry=empty)


def test_several_numbers_a_row_are_refused(empty: Registry, two_classes: Data) -> None:
    targets = two_classes.x[:, :2]
    estimator = RandomForestRegressor(3).fit(two_classes.x, targets)
    with pytest.raises(NotPublished, match="predicts 2 numbers a row; publish one estimator for each"):
        publish(estimator, "no", two_classes.held_x, two_classes.held_x[:, :2], features=NAMES, registry=empty)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (None, r"the features have no names: give features=\[\.\.\.\]"),
        (NAMES[:-1], r"there are 19 names .* and the rows have 20 columns"),
        ([*NAMES[:-1], NAMES[0]], r"the features' names repeat"),
    ],
)
def test_features_need_their_names(
    empty: Registry, two_classes: Data, features: Sequence[str] | None, message: str
) -> None:
    estimator = LogisticRegression().fit(two_classes.x, two_classes.y)
    with pytest.raises(NotPublished, match=message):
        publish(estimator, "no", two_classes.held_x, two_classes.held_y, features=features, registry=empty)


@pytest.mark.parametrize("kind", [Features, msgspec.defstruct("F", [("amount", float), ("age", float)])])
def test_names_come_from_the_type_that_serves(empty: Registry, kind: type) -> None:
    random = numpy.random.default_rng(5)
    rows = [Features(*values) for values in random.normal(size=(300, 2)).tolist()]
    names, x = table(rows)
    y = x[:, 0] > 0
    version = publish(LogisticRegression().fit(x, y), "typed", x, y, features=kind, registry=empty)
    assert [entry.name for entry in version.manifest.inputs] == names == ["amount", "age"]


@dataclass
class Record:
    amount: float
    age: int | None


class Struct(msgspec.Struct):
    amount: float
    country: str


def test_tables_are_made_of_named_features() -> None:
    names, values = table([Record(1.5, 2), Record(2.5, None)])
    assert names == ["amount", "age"]
    assert values.dtype == numpy.float64
    assert numpy.isnan(values[1, 1])
    mixed = table([Struct(1.0, "FR")])
    assert mixed.values.tolist() == [[1.0, "FR"]]
    with pytest.raises(NotPublished, match="no examples"):
        table([])
    with pytest.raises(NotPublished, match="tuple has no named features"):
        table([(1, 2)])


class Slow(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """An estimator whose conversion does what its `how` says."""

    def __init__(self, how: str = "hang") -> None:
        self.how = how

    def fit(self, x: NDArray[Any], y: NDArray[Any]) -> Slow:
        self.classes_ = numpy.unique(y)
        return self

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        return numpy.zeros(len(x))

    def predict_proba(self, x: NDArray[Any]) -> NDArray[Any]:
        return numpy.full((len(x), 2), 0.5)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("hang", r"converting Slow to ONNX did not end within 0.5 s and was stopped"),
        ("crash", r"converting Slow to ONNX crashed: the process was ended by signal 9 \(SIGKILL\)"),
        ("leave", r"converting Slow to ONNX crashed: the process ended with exit code 3"),
        ("raise", r"Slow cannot be converted to ONNX: .*no way \(ValueError\)"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="the converter is replaced in a forked child")
def test_a_conversion_may_hang_or_crash(
    empty: Registry, two_classes: Data, monkeypatch: pytest.MonkeyPatch, how: str, message: str
) -> None:
    def convert(estimator: Slow, *rest: object) -> tuple[bytes, str]:
        import os
        import threading

        if estimator.how == "hang":
            threading.Event().wait()
        elif estimator.how == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        elif estimator.how == "leave":
            os._exit(3)
        raise ValueError("no way\nwith more lines")

    monkeypatch.setattr(sys.modules["penstock.models.export"], "_convert", convert)
    estimator = Slow(how).fit(two_classes.x, two_classes.y)
    timeout = 0.5 if how == "hang" else 60
    with pytest.raises(NotPublished, match=message):
        publish(
            estimator, "slow", two_classes.held_x, two_classes.held_y, features=NAMES, registry=empty, timeout=timeout
        )


def test_what_has_no_converter_says_so(empty: Registry, two_classes: Data) -> None:
    estimator = Slow().fit(two_classes.x, two_classes.y)
    with pytest.raises(NotPublished, match=r"Slow cannot be converted to ONNX: "):
        publish(estimator, "slow", two_classes.held_x, two_classes.held_y, features=NAMES, registry=empty)


def test_endings_are_named() -> None:
    assert _ending(-11) == "the process was ended by signal 11 (SIGSEGV)"
    assert _ending(None) == "the process ended with exit code None"


def test_without_the_libraries_of_training_it_says_what_to_install(
    empty: Registry, boosting: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = boosting.data
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ConfigError, match=r"pip install 'penstock\[train\]'"):
        publish(boosting.estimator, "no", data.held_x, data.held_y, features=NAMES, registry=empty)


def test_own_figures_and_facts_are_kept(empty: Registry, two_classes: Data) -> None:
    estimator = LogisticRegression().fit(two_classes.x, two_classes.y)
    version = publish(
        estimator,
        "own",
        two_classes.held_x,
        two_classes.held_y,
        features=NAMES,
        registry=empty,
        metrics={"saved": 12.5},
        lineage={"ticket": "F-7"},
    )
    again = empty.resolve("own@1").manifest
    assert again == version.manifest
    assert (again.metrics["saved"], again.lineage["ticket"]) == (12.5, "F-7")
