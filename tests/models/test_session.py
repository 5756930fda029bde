"""A loaded version answers as scikit-learn does, without scikit-learn."""

from __future__ import annotations

import math
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from penstock.errors import BadEvent, ConfigError, DeclarationError
from penstock.models import Model, open_registry, promote, publish
from penstock.models.manifest import Manifest
from penstock.models.registry import MODEL
from tests.models.conftest import NAMES, Published


def test_it_predicts_what_scikit_learn_predicts(boosting: Published) -> None:
    model = boosting.load()
    rows = boosting.data.held_x[:200]
    expected = boosting.estimator.predict_proba(rows)
    make = model.row_for(list)
    answers = model.run([make(row) for row in rows.tolist()])
    assert [answer.value for answer in answers] == pytest.approx(expected[:, 1], abs=1e-5)
    assert [answer.scores["0"] for answer in answers] == pytest.approx(expected[:, 0], abs=1e-5)
    assert [answer.label for answer in answers] == [str(label) for label in boosting.estimator.predict(rows)]
    assert {(answer.model, answer.version, answer.fallback) for answer in answers} == {
        ("boosting", str(boosting.version.number), None)
    }


def test_every_kind_of_model_predicts_what_scikit_learn_predicts(any_model: Published) -> None:
    model = any_model.load()
    rows = any_model.data.held_x[:100]
    make = model.row_for(list)
    answers = model.run([make(row) for row in rows.tolist()])
    found = any_model.estimator.predict(rows)
    if any_model.version.name == "regression":
        assert [answer.value for answer in answers] == pytest.approx(found, rel=1e-4)
        assert {(answer.label, len(answer.scores)) for answer in answers} == {("", 0)}
        return
    scores = any_model.estimator.predict_proba(rows)
    labels = [str(label) for label in any_model.estimator.classes_]
    for answer, wanted in zip(answers, scores.tolist(), strict=True):
        assert list(answer.scores) == labels
        assert list(answer.scores.values()) == pytest.approx(wanted, abs=1e-5)
        assert answer.value == (max(answer.scores.values()) if len(labels) > 2 else answer.scores[labels[1]])
    ties = numpy.abs(scores - 0.5).min(axis=1) < 1e-5
    assert [a.label for a, tie in zip(answers, ties, strict=True) if not tie] == [str(f) for f in found[~ties]]


def test_features_are_taken_by_name(boosting: Published) -> None:
    model = boosting.load()
    kind = msgspec.defstruct("Features", [(name, float) for name in reversed(NAMES)])
    values = boosting.data.held_x[0].tolist()
    by_name = model.row_for(kind)(kind(*reversed(values)))
    assert by_name == model.row_for(list)(values)
    assert model.inputs == tuple(NAMES)
    with pytest.raises(DeclarationError, match=r"missing: feature_19"):
        model.row_for(msgspec.defstruct("Fewer", [(name, float) for name in NAMES[:-1]]))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e39])
def test_a_number_that_is_none_names_its_feature(boosting: Published, value: float) -> None:
    model = boosting.load()
    values = boosting.data.held_x[0].tolist()
    good = model.row_for(list)(values)
    bad = model.row_for(list)([*values[:3], value, *values[4:]])
    with pytest.raises(BadEvent, match=r"boosting@\d+: feature 'feature_3' is (nan|-?inf) .* has to be a number"):
        model.run([good, bad, good])


def test_it_is_measured_when_it_is_loaded(boosting: Published) -> None:
    cost = boosting.load().cost
    assert cost.row > 0
    assert 0 <= cost.run < 1


def test_it_answers_from_many_threads(boosting: Published) -> None:
    model = boosting.load()
    make = model.row_for(list)
    rows = [make(row) for row in boosting.data.held_x[:64].tolist()]
    expected = model.run(rows)
    with ThreadPoolExecutor(4) as pool:
        assert all(answers == expected for answers in pool.map(lambda _: model.run(rows), range(40)))


def test_texts_and_numbers_go_in_together(tmp_path: Path) -> None:
    random = numpy.random.default_rng(3)
    amounts = random.lognormal(3, 1, 900)
    countries = random.choice(["DE", "FR", "US", "ZÜ"], 900)
    risky = (countries == "US") & (amounts > 20)
    x = numpy.empty((900, 2), dtype=object)
    x[:, 0], x[:, 1] = amounts, countries
    columns = ColumnTransformer(
        [("number", StandardScaler(), [0]), ("text", OneHotEncoder(handle_unknown="ignore"), [1])]
    )
    estimator = Pipeline([("columns", columns), ("model", LogisticRegression())]).fit(x[:600], risky[:600])
    registry = open_registry(str(tmp_path))
    version = publish(estimator, "mixed", x[600:], risky[600:], features=["amount", "country"], registry=registry)
    assert [(entry.name, entry.type) for entry in version.manifest.inputs] == [
        ("amount", "float32"),
        ("country", "string"),
    ]
    model = Model.load(registry, "mixed@1")
    make = model.row_for(dict)
    rows = [{"country": country, "amount": amount} for amount, country in x[600:].tolist()]
    rows.append({"country": "never seen", "amount": 20})
    answers = model.run([make(row) for row in rows])
    wanted = estimator.predict_proba(numpy.vstack([x[600:], numpy.array([[20.0, "never seen"]], dtype=object)]))
    assert [answer.value for answer in answers] == pytest.approx(wanted[:, 1], abs=1e-5)
    assert {answer.label for answer in answers} == {"False", "True"}
    with pytest.raises(BadEvent, match=r"feature 'amount' is nan"):
        model.run([make({"country": "DE", "amount": math.nan})])


def test_missing_values_are_taken_where_held_out_rows_had_them(tmp_path: Path) -> None:
    random = numpy.random.default_rng(3)
    x = random.normal(size=(1200, 3))
    y = x[:, 0] + x[:, 1] > 0
    x[random.random(1200) < 0.2, 1] = numpy.nan
    estimator = HistGradientBoostingClassifier(max_iter=20).fit(x[:800], y[:800])
    registry = open_registry(str(tmp_path))
    version = publish(estimator, "holes", x[800:], y[800:], features=["a", "b", "c"], registry=registry)
    assert [entry.missing for entry in version.manifest.inputs] == [False, True, False]
    model = Model.load(registry, "holes@1")
    make = model.row_for(list)
    answer = model.run([make([0.5, None, 0.1])])[0]
    assert answer.value == pytest.approx(estimator.predict_proba([[0.5, numpy.nan, 0.1]])[0, 1], abs=1e-5)
    with pytest.raises(BadEvent, match="feature 'c' is nan"):
        model.run([make([0.5, None, math.nan])])


def test_a_threshold_decides_the_label(boosting: Published, tmp_path: Path) -> None:
    data = boosting.data
    registry = open_registry(str(tmp_path))
    publish(boosting.estimator, "strict", data.held_x, data.held_y, features=NAMES, registry=registry, threshold=0.9)
    model = Model.load(registry, "strict@1")
    make = model.row_for(list)
    answers = model.run([make(row) for row in data.held_x.tolist()])
    assert all((answer.label == "1") == (answer.value >= 0.9) for answer in answers)


def test_double_precision_keeps_large_numbers_apart(tmp_path: Path) -> None:
    random = numpy.random.default_rng(3)
    x = 1.7e9 + random.random((800, 1)) * 100
    y = x[:, 0] - 1.7e9 > 50
    estimator = Pipeline([("scale", StandardScaler()), ("model", LogisticRegression())]).fit(x[:500], y[:500])
    registry = open_registry(str(tmp_path))
    version = publish(estimator, "times", x[500:], y[500:], features=["at"], registry=registry, precision="float64")
    assert version.manifest.comparison.off == 0.0
    model = Model.load(registry, "times@1")
    assert model.row_for(list)([1.7e9 + 1]) == struct.pack("d", 1.7e9 + 1)


def test_a_model_that_computes_otherwise_here_is_refused(boosting: Published, tmp_path: Path) -> None:
    registry = open_registry(str(tmp_path))
    manifest = boosting.version.manifest
    wrong = msgspec.structs.replace(manifest, probe=msgspec.structs.replace(manifest.probe, value=2.0))
    registry.publish(wrong, {MODEL: boosting.registry.read(boosting.version)})
    with pytest.raises(ConfigError, match=r"boosting@1 computes otherwise here: .* where 2 was published"):
        Model.load(registry, "boosting@1")


def test_what_onnxruntime_cannot_load_is_refused(boosting: Published, tmp_path: Path) -> None:
    registry = open_registry(str(tmp_path))
    registry.publish(boosting.version.manifest, {MODEL: b"no model at all"})
    with pytest.raises(ConfigError, match=r"boosting@1 cannot be loaded by onnxruntime"):
        Model.load(registry, "boosting@1")


def test_an_alias_is_loaded(boosting: Published) -> None:
    promote(boosting.version, "champion", registry=boosting.registry)
    assert repr(Model.load(boosting.registry, "boosting@champion")) == f"Model({boosting.version})"


def test_the_manifest_is_read_as_it_was_written(boosting: Published) -> None:
    manifest: Any = msgspec.json.decode(boosting.version.manifest.encode(), type=Manifest)
    assert manifest == boosting.version.manifest


SERVE = """
import asyncio, sys
from penstock.models import Batcher, Model, Prediction, open_registry

model = Model.load(open_registry(sys.argv[1]), sys.argv[2])
row = model.row_for(list)(model.manifest.probe.row)

async def main():
    batcher = Batcher(model)
    print(await batcher.predict(row))
    print(await batcher.predict_many([row, row]))

asyncio.run(main())
loaded = {name.partition(".")[0] for name in sys.modules}
print(sorted(loaded & {"sklearn", "onnx", "skl2onnx", "scipy", "joblib", "pandas", "pickle5", "threadpoolctl"}))
"""

LIGHT = """
import sys
import penstock.models
loaded = {name.partition(".")[0] for name in sys.modules}
print(sorted(loaded & {"sklearn", "onnx", "skl2onnx", "scipy", "numpy", "onnxruntime"}))
"""


def run(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_serving_loads_nothing_that_trains(boosting: Published) -> None:
    assert run(SERVE, boosting.registry.address, str(boosting.version)) == "[]"


def test_importing_the_package_loads_no_runtime() -> None:
    assert run(LIGHT) == "[]"


def test_nothing_is_pickled() -> None:
    for file in Path(__file__).parents[2].joinpath("models").glob("*.py"):
        assert "import pickle" not in file.read_text(), file
