"""Real scikit-learn models, fitted and published once for all tests of this package."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy
import pytest
from numpy.typing import NDArray
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from penstock.models import Model, Registry, Version, open_registry, publish
from penstock.models.script import Progress, running

NAMES = [f"feature_{number}" for number in range(20)]


class Data(NamedTuple):
    """Rows to train on, and rows held out."""

    x: NDArray[Any]
    y: NDArray[Any]
    held_x: NDArray[Any]
    held_y: NDArray[Any]


class Published(NamedTuple):
    """A fitted estimator, the data it saw, and the version it became."""

    estimator: Any
    data: Data
    registry: Registry
    version: Version

    def load(self, max_batch: int = 64) -> Model:
        return Model.load(self.registry, str(self.version), max_batch=max_batch)


def split(x: Any, y: Any, held: int = 500) -> Data:
    return Data(x[held:], y[held:], x[:held], y[:held])


@pytest.fixture(autouse=True)
def news() -> Iterator[list[Progress]]:
    """What training reports, kept instead of printed."""
    heard: list[Progress] = []
    with running(None, heard.append):
        yield heard


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return open_registry(str(tmp_path_factory.mktemp("registry")))


@pytest.fixture(scope="session")
def two_classes() -> Data:
    x, y = make_classification(1500, 20, random_state=7)
    return split(x, y)


@pytest.fixture(scope="session")
def boosting(registry: Registry, two_classes: Data) -> Published:
    """Gradient boosting, 100 trees of depth 3, two classes, 20 features."""
    data = two_classes
    estimator = GradientBoostingClassifier(n_estimators=100, max_depth=3, random_state=0).fit(data.x, data.y)
    with running(registry, lambda progress: None):
        version = publish(estimator, "boosting", data.held_x, data.held_y, features=NAMES, trained_on=(data.x, data.y))
    return Published(estimator, data, registry, version)


@pytest.fixture(scope="session", params=["logistic", "forest", "multiclass", "regression"])
def any_model(request: pytest.FixtureRequest, registry: Registry, two_classes: Data) -> Published:
    """One model of each other kind."""
    estimator: Any
    data = two_classes
    if request.param == "logistic":
        labels = numpy.array(["good", "bad"])
        data = Data(data.x, labels[data.y], data.held_x, labels[data.held_y])
        estimator = LogisticRegression()
    elif request.param == "forest":
        estimator = RandomForestClassifier(30, random_state=0)
    elif request.param == "multiclass":
        x, y = make_classification(1500, 20, n_informative=8, n_classes=4, random_state=7)
        data = split(x, y)
        estimator = GradientBoostingClassifier(n_estimators=20, random_state=0)
    else:
        made: Any = make_regression(1500, 20, random_state=7)
        x, y = made
        data = split(x, y)
        estimator = GradientBoostingRegressor(n_estimators=30, random_state=0)
    estimator.fit(data.x, data.y)
    with running(registry, lambda progress: None):
        version = publish(estimator, request.param, data.held_x, data.held_y, features=NAMES)
    return Published(estimator, data, registry, version)
