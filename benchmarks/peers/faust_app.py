"""Faust (faust-streaming): an agent over a topic, uvloop, orjson, its Cython streams, commits by default.

An event is acknowledged when the agent asks for the next one; offsets are committed every 10,000 events or 2.8 s.
"""

# Checked where this library is not installed, for it runs in an environment of its own.
# mypy: disable-error-code="import-not-found, misc, untyped-decorator"
# pyright: reportMissingImports=false
from __future__ import annotations

import os
import tempfile
from typing import Any

from mode.loop import use

use("uvloop")

import faust  # noqa: E402  (the loop is chosen first)

from benchmarks.stages import classify, finish, in_euros, score  # noqa: E402

app = faust.App(
    os.environ["BENCH_GROUP"],
    broker=f"kafka://{os.environ['BENCH_KAFKA']}",
    datadir=tempfile.mkdtemp(prefix="faust-", dir=os.environ.get("BENCH_FOLDER")),
    store="memory://",
    topic_partitions=4,
    topic_disable_leader=True,
    consumer_auto_offset_reset="earliest",
    stream_buffer_maxsize=16384,
    web_enabled=False,
)
topic = app.topic(os.environ["BENCH_TOPIC"], value_serializer="json", partitions=4)
decide = finish()


@app.agent(topic)
async def handle(payments: Any) -> None:
    async for payment in payments:
        decide(score(classify(in_euros(payment))))


if __name__ == "__main__":
    app.main()
