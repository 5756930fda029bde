"""`decide` from topic to topic as a pipeline, served as `penstock run` does: a contestant of `kafka-to-kafka`.

With `BENCH_SECONDS` it ends itself after its turn. Without, it serves until a signal, and says `ready` when it is:
that is how `latency`, `start` and `memory` run it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import decision
from benchmarks.decision import Decision
from benchmarks.payments import Payment
from benchmarks.penstock_side import service
from benchmarks.stages import Turn
from penstock.connectors import Kafka
from penstock.models import Prediction
from penstock.pipeline.serving.run import on_loop


def main() -> None:
    """Run until the turn is over, or a signal comes."""
    source = Kafka(os.environ["BENCH_TOPIC"], group=os.environ["BENCH_GROUP"], start="earliest")
    act = _counted() if "BENCH_SECONDS" in os.environ else decision.decide
    sink = Kafka(os.environ["BENCH_OUT"], transactional="BENCH_TRANSACTIONAL" in os.environ)
    pipeline = decision.pipeline("bench", source, sink, act)
    on_loop(service(pipeline, os.environ, _ready))


def _ready() -> None:
    print("ready", flush=True)
    if "BENCH_MODULES" in os.environ:
        Path(os.environ["BENCH_MODULES"]).write_text("\n".join(_third_party()), encoding="utf-8")


def _third_party() -> list[str]:
    """Modules that this process has imported, in order, that are neither Python's own nor the project's."""
    own = {*sys.stdlib_module_names, "penstock", "benchmarks", "tests", "__main__"}
    return [name for name in sys.modules if name.partition(".")[0] not in own and not name.startswith("_")]


def _counted() -> Callable[[Payment, Prediction], Decision]:
    one = Turn.given().one

    def decide(payment: Payment, prediction: Prediction) -> Decision:
        one()
        return decision.decide(payment, prediction)

    return decide


if __name__ == "__main__":
    main()
