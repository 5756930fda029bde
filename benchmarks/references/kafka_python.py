"""The four stages in a loop by hand over kafka-python: lists of records, committed in the background every second.

At least once: commits are our own and name the offsets of lists whose last payment was processed.
"""

from __future__ import annotations

import os
from time import monotonic
from typing import Any

import msgspec
from kafka import KafkaConsumer
from kafka.structs import OffsetAndMetadata

from benchmarks.stages import classify, finish, in_euros, score

MOST = 10_000


def main() -> None:
    """Run until the turn is over."""
    consumer = KafkaConsumer(
        os.environ["BENCH_TOPIC"],
        bootstrap_servers=os.environ["BENCH_KAFKA"],
        group_id=os.environ["BENCH_GROUP"],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_poll_records=MOST,
        max_partition_fetch_bytes=4_000_000,
    )
    decode = msgspec.json.Decoder(dict).decode
    decide, poll = finish(), consumer.poll
    reached: dict[Any, Any] = {}
    due = monotonic() + 1.0
    while True:
        for partition, records in poll(100).items():
            for record in records:
                decide(score(classify(in_euros(decode(record.value)))))
            reached[partition] = OffsetAndMetadata(records[-1].offset + 1, "", -1)
        if reached and monotonic() >= due:
            consumer.commit_async(reached)
            reached, due = {}, monotonic() + 1.0


if __name__ == "__main__":
    main()
