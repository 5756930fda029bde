"""The four stages as a pipeline, served as `penstock run` does: one contestant of `kafka`."""

from __future__ import annotations

import os
from typing import Any

from benchmarks.penstock_side import service
from benchmarks.stages import classify, finish, in_euros, score
from penstock import Pipeline
from penstock.connectors import Kafka
from penstock.pipeline.serving.run import on_loop


def main() -> None:
    """Run until the turn is over."""
    pipeline = Pipeline("bench")
    source = Kafka(os.environ["BENCH_TOPIC"], group=os.environ["BENCH_GROUP"], start="earliest")
    payments = pipeline.source(source, schema=dict[str, Any], key="card", id="id")
    payments.transform(in_euros).transform(classify).transform(score).transform(finish()).end()
    on_loop(service(pipeline, os.environ, lambda: None))


if __name__ == "__main__":
    main()
