"""The four stages as a pipeline over MQTT, served as `penstock run` does: a contestant of `mqtt`.

With `BENCH_EVENTS` it ends itself after as many. Without, it says `ready` and serves until a signal.
"""

from __future__ import annotations

import os
from typing import Any

from benchmarks import stages
from benchmarks.penstock_side import service
from benchmarks.stages import classify, in_euros, score
from penstock import Pipeline
from penstock.connectors import Mqtt
from penstock.pipeline.serving.run import on_loop


def main() -> None:
    """Run until the turn is over, or a signal comes."""
    decide = stages.finish() if "BENCH_EVENTS" in os.environ else stages.decide
    pipeline = Pipeline(os.environ["BENCH_GROUP"])
    payments = pipeline.source(Mqtt(os.environ["BENCH_TOPIC"]), schema=dict[str, Any], key="card", id="id")
    payments.transform(in_euros).transform(classify).transform(score).transform(decide).end()
    on_loop(service(pipeline, os.environ, lambda: print("ready", flush=True)))


if __name__ == "__main__":
    main()
