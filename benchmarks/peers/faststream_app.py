"""FastStream on confluent-kafka: a subscriber that handles one payment, acknowledged once it is handled.

Without validation of types and without a logger; its own JSON decoding, which takes orjson where it is installed.
"""

# Checked where this library is not installed, for it runs in an environment of its own.
# mypy: disable-error-code="import-not-found, misc, untyped-decorator"
# pyright: reportMissingImports=false
from __future__ import annotations

import asyncio
import os
from typing import Any

from faststream import AckPolicy, FastStream
from faststream.confluent import KafkaBroker

from benchmarks.stages import classify, finish, in_euros, score

broker = KafkaBroker(os.environ["BENCH_KAFKA"], apply_types=False, logger=None)
app = FastStream(broker, logger=None)
decide = finish()


@broker.subscriber(
    os.environ["BENCH_TOPIC"],
    group_id=os.environ["BENCH_GROUP"],
    auto_offset_reset="earliest",
    ack_policy=AckPolicy.NACK_ON_ERROR,
)
async def handle(payment: dict[str, Any]) -> None:
    decide(score(classify(in_euros(payment))))


if __name__ == "__main__":
    asyncio.run(app.run())
