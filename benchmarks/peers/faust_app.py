"""Faust (faust-streaming): an agent over a topic, a codec of msgspec, uvloop, its Cython streams, commits by default.

An event is acknowledged when the agent asks for the next one; offsets are committed every 10,000 events or 2.8 s.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

from mode.loop import use

use("uvloop")

import faust  # noqa: E402  (the loop is chosen first)
import msgspec  # noqa: E402
from faust.serializers import codecs  # noqa: E402

from benchmarks.stages import classify, finish, in_euros, score  # noqa: E402


class Fast(codecs.Codec):
    """JSON by msgspec: the documented way to bring another serializer."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(dict).decode

    def _dumps(self, obj: Any) -> bytes:
        return self._encode(obj)

    def _loads(self, s: bytes) -> Any:
        return self._decode(s)


codecs.register("fast", Fast())
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
topic = app.topic(os.environ["BENCH_TOPIC"], value_serializer="fast", partitions=4)
decide = finish()


@app.agent(topic)
async def handle(payments: faust.StreamT[dict[str, Any]]) -> None:
    async for payment in payments:
        decide(score(classify(in_euros(payment))))


if __name__ == "__main__":
    app.main()
