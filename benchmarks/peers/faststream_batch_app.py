"""FastStream on confluent-kafka, with batches: a subscriber that handles a list of payments and loops over it.

The list is acknowledged as one: whatever fails in it fails it whole, and the loop is the user's own. As its
documentation writes it, with lists of 1000; with `BENCH_TUNED` a decoder of the user's own takes all bodies at once
with msgspec, which spares one message object each.
"""

# Checked where this library is not installed, for it runs in an environment of its own.
# mypy: disable-error-code="import-not-found, misc, untyped-decorator"
# pyright: reportMissingImports=false
from __future__ import annotations

import asyncio
import os
from typing import Any

import msgspec
from faststream import AckPolicy, FastStream
from faststream.confluent import KafkaBroker, KafkaMessage

from benchmarks.stages import classify, finish, in_euros, score

broker = KafkaBroker(os.environ["BENCH_KAFKA"], apply_types=False, logger=None)
app = FastStream(broker, logger=None)
decide = finish()
loads = msgspec.json.Decoder(dict).decode


async def decode(message: KafkaMessage) -> list[dict[str, Any]]:
    """All bodies of a list."""
    return [loads(body) for body in message.body]


options: dict[str, Any] = {"decoder": decode} if os.environ.get("BENCH_TUNED") else {}


@broker.subscriber(
    os.environ["BENCH_TOPIC"],
    group_id=os.environ["BENCH_GROUP"],
    auto_offset_reset="earliest",
    ack_policy=AckPolicy.NACK_ON_ERROR,
    batch=True,
    max_records=1000,
    **options,
)
async def handle(payments: list[dict[str, Any]]) -> None:
    for payment in payments:
        decide(score(classify(in_euros(payment))))


if __name__ == "__main__":
    asyncio.run(app.run())
