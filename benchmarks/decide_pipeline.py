"""`decide` from topic to topic as a pipeline, served as `penstock run` does: a contestant of `kafka-to-kafka`.

With `BENCH_SECONDS` it ends itself after its turn. Without, it serves until a signal, and says `ready` when it is:
that is how `latency`, `start` and `memory` run it.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from benchmarks import decision
from benchmarks.decision import Decision
from benchmarks.payments import Payment
from benchmarks.penstock_side import service
from benchmarks.stages import Turn
from penstock.connectors import Kafka
from penstock.models import Prediction
from penstock.pipeline.run import on_loop


def main() -> None:
    """Run until the turn is over, or a signal comes."""
    source = Kafka(os.environ["BENCH_TOPIC"], group=os.environ["BENCH_GROUP"], start="earliest")
    act = _counted() if "BENCH_SECONDS" in os.environ else decision.decide
    pipeline = decision.pipeline("bench", source, Kafka(os.environ["BENCH_OUT"]), act)
    on_loop(service(pipeline, os.environ, lambda: print("ready", flush=True)))


def _counted() -> Callable[[Payment, Prediction], Decision]:
    one = Turn.given().one

    def decide(payment: Payment, prediction: Prediction) -> Decision:
        one()
        return decision.decide(payment, prediction)

    return decide


if __name__ == "__main__":
    main()
