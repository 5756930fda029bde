"""The four stages as a pipeline over HTTP, served as `penstock run` does: a contestant of `http`."""

from __future__ import annotations

import os
from typing import Any

from benchmarks.penstock_side import service
from benchmarks.stages import classify, decide, in_euros, score
from penstock import Pipeline
from penstock.connectors import Http
from penstock.pipeline.serving.run import on_loop


def main() -> None:
    """Serve until a signal comes."""
    pipeline = Pipeline("bench")
    payments = pipeline.source(Http("/payments"), schema=dict[str, Any], key="card", id="id")
    payments.transform(in_euros).transform(classify).transform(score).transform(decide).end()
    on_loop(service(pipeline, os.environ, lambda: print("ready", flush=True)))


if __name__ == "__main__":
    main()
