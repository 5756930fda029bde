"""The decision that `decide`, `kafka-to-kafka`, `latency`, `start` and `memory` make, whoever makes it.

A payment is decoded from JSON, 20 features of its card come from a Redis hash, gradient-boosted trees (100 of depth 3)
judge them together with the amount, and the decision is encoded as JSON.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from benchmarks.machine import pin
from benchmarks.payments import CARDS, Payment, card
from penstock import Pipeline
from penstock.connectors import Endpoint
from penstock.models import Prediction
from penstock.stages.lookup import lookup

MODEL = "card-risk@champion"
THRESHOLD = 0.5


class Profile(msgspec.Struct, frozen=True):
    """What is known of a card: 20 numbers."""

    f00: float
    f01: float
    f02: float
    f03: float
    f04: float
    f05: float
    f06: float
    f07: float
    f08: float
    f09: float
    f10: float
    f11: float
    f12: float
    f13: float
    f14: float
    f15: float
    f16: float
    f17: float
    f18: float
    f19: float


FIELDS = Profile.__struct_fields__
INPUTS = ("amount", *FIELDS)


class Decision(msgspec.Struct, frozen=True):
    """What is sent on."""

    payment: str
    card: str
    allow: bool
    risk: float


def features(payment: Payment, profile: Profile) -> list[float]:
    """The row that the model takes. User code, once for every event."""
    return [payment.amount, *msgspec.structs.astuple(profile)]


def decide(payment: Payment, prediction: Prediction) -> Decision:
    """The decision. User code, once for every event."""
    return Decision(payment.id, payment.card, prediction.value < THRESHOLD, prediction.value)


def pipeline(
    name: str, source: Endpoint, sink: Endpoint, act: Callable[[Payment, Prediction], Decision] = decide
) -> Pipeline:
    """The whole of it, declared."""
    made = Pipeline(name)
    payments = made.source(source, schema=Payment, key="card", id="id")
    known = payments.enrich(profile=lookup("card:{card}", Profile, missing="reject"))
    known.infer(MODEL, features).act(act, to=sink)
    return made


@contextmanager
def environment() -> Iterator[dict[str, str]]:
    """A Redis that knows every card, and a registry with the model: their addresses as settings."""
    from tests.servers import Redis  # not for the process whose start is measured

    with Redis() as redis, tempfile.TemporaryDirectory(prefix="penstock-models-") as registry:
        pin(redis.pid, measured=False)
        fill(redis.address)
        # In a process of its own: what measures does not carry scikit-learn.
        subprocess.run([sys.executable, "-m", "benchmarks.decision", registry], check=True, capture_output=True)
        yield {"PENSTOCK_STORE": redis.address, "PENSTOCK_MODELS": registry}


def fill(address: str) -> None:
    """Write a hash of 20 features for each card."""
    from redis import Redis as Client

    rng = random.Random(2)
    client = Client.from_url(address)
    pipe = client.pipeline(transaction=False)
    for number in range(CARDS):
        pipe.hset(f"card:{card(number)}", mapping={name: repr(round(rng.gauss(0.0, 1.0), 6)) for name in FIELDS})
    pipe.execute()
    client.close()


def train(registry: str) -> None:
    """Publish the model to the folder `registry`."""
    import numpy
    from sklearn.ensemble import GradientBoostingClassifier

    from penstock.models import promote, publish

    rng = numpy.random.default_rng(3)
    rows = rng.normal(size=(4000, len(INPUTS)))
    rows[:, 0] = numpy.exp(rows[:, 0] * 1.2 + 3.5)
    truth = (numpy.log(rows[:, 0]) + rows[:, 1] - rows[:, 2] * rows[:, 3] + rng.normal(size=4000) > 4.0).astype(int)
    model = GradientBoostingClassifier(n_estimators=100, max_depth=3, random_state=0).fit(rows[:3000], truth[:3000])
    version = publish(model, MODEL.partition("@")[0], rows[3000:], truth[3000:], features=INPUTS, registry=registry)
    promote(version, "champion", registry=registry)


def content(registry: str | Path) -> bytes:
    """The published model as ONNX, for those who load it by hand."""
    (path,) = sorted(Path(registry).glob("**/model.onnx"))
    return path.read_bytes()


if __name__ == "__main__":
    train(sys.argv[1])
