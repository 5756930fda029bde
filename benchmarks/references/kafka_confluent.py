"""The four stages in a loop by hand over confluent-kafka: lists of records, offsets stored once they are processed.

At least once: `enable.auto.offset.store` is off, so that librdkafka's commits (every second) never pass what was
stored, and a list's offsets are stored after its last payment.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec
from confluent_kafka import Consumer, TopicPartition

from benchmarks.stages import classify, finish, in_euros, score

MOST = 2000
"""Records of one list. `consume` waits until it is full, or for the time that it is given."""


def main() -> None:
    """Run until the turn is over."""
    topic = os.environ["BENCH_TOPIC"]
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["BENCH_KAFKA"],
            "group.id": os.environ["BENCH_GROUP"],
            "auto.offset.reset": "earliest",
            "enable.auto.offset.store": False,
            "auto.commit.interval.ms": 1000,
            "queued.min.messages": 200_000,
            "fetch.message.max.bytes": 4_000_000,
        }
    )
    consumer.subscribe([topic])
    decode = msgspec.json.Decoder(dict).decode
    decide, consume = finish(), consumer.consume
    while True:
        reached: dict[int, int] = {}
        messages: list[Any] = consume(MOST, 0.01)
        for message in messages:
            if message.error():
                raise RuntimeError(message.error().str())
            decide(score(classify(in_euros(decode(message.value())))))
            reached[message.partition()] = message.offset()
        if reached:
            offsets = [TopicPartition(topic, number, offset + 1) for number, offset in reached.items()]
            consumer.store_offsets(offsets=offsets)


if __name__ == "__main__":
    main()
