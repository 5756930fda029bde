"""Quix Streams: a `StreamingDataFrame` with an `apply` for each stage; offsets are committed every 5 s, its default.

Its own JSON deserializer (orjson) is used: another one is a class of the user's called through more layers.
"""

# Checked where this library is not installed, for it runs in an environment of its own.
# mypy: disable-error-code="import-not-found, misc, untyped-decorator"
# pyright: reportMissingImports=false
from __future__ import annotations

import os
import tempfile

from quixstreams import Application

from benchmarks.stages import classify, finish, in_euros, score

app = Application(
    broker_address=os.environ["BENCH_KAFKA"],
    consumer_group=os.environ["BENCH_GROUP"],
    auto_offset_reset="earliest",
    processing_guarantee="at-least-once",
    loglevel="ERROR",
    state_dir=tempfile.mkdtemp(prefix="quix-", dir=os.environ.get("BENCH_FOLDER")),
)
frame = app.dataframe(app.topic(os.environ["BENCH_TOPIC"], value_deserializer="json"))
frame = frame.apply(in_euros).apply(classify).apply(score).apply(finish())

if __name__ == "__main__":
    app.run()
