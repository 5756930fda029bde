"""`decide` from topic to topic by hand over kafka-python: lists, asked for one ahead, every delivery tracked.

As `decide_kafka_confluent`, with this client's own means: offsets of confirmed lists are committed in the background
once a second.
"""

from __future__ import annotations

import os
from collections import deque
from time import monotonic
from typing import Any

from kafka import KafkaConsumer, KafkaProducer
from kafka.structs import OffsetAndMetadata, TopicPartition

from benchmarks.payments import Payment
from benchmarks.references.decider import Decider
from benchmarks.stages import Turn

MOST = 500


class Batch:
    """Records read together: how many of their decisions are not confirmed, and how far they reach."""

    def __init__(self, records: list[Any], payments: list[Payment]) -> None:
        self.records = records
        self.payments = payments
        self.left = len(records)

    def delivered(self, _: Any) -> None:
        # Called on the producer's one thread.
        self.left -= 1


def main() -> None:
    """Run until the turn is over."""
    broker, out = os.environ["BENCH_KAFKA"], os.environ["BENCH_OUT"]
    consumer = KafkaConsumer(
        os.environ["BENCH_TOPIC"],
        bootstrap_servers=broker,
        group_id=os.environ["BENCH_GROUP"],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_poll_records=MOST,
    )
    producer = KafkaProducer(
        bootstrap_servers=broker, enable_idempotence=True, acks="all", linger_ms=5, batch_size=262_144
    )
    decider = Decider(os.environ["PENSTOCK_STORE"], os.environ["PENSTOCK_MODELS"])
    one, send = Turn.given().one, producer.send
    asked: deque[Batch] = deque()
    owed: deque[Batch] = deque()
    due = monotonic() + 1.0
    while True:
        found = consumer.poll(0 if asked else 10)
        records = [record for part in found.values() for record in part]
        if records:
            asked.append(Batch(records, decider.ask([record.value for record in records])))
        if asked and (len(asked) > 1 or not records):
            batch = asked.popleft()
            delivered = batch.delivered
            for record, decision in zip(batch.records, decider.decide(batch.payments), strict=True):
                send(out, decision, record.key).add_callback(delivered)
                one()
            owed.append(batch)
        if monotonic() >= due:
            _commit(consumer, owed)
            due = monotonic() + 1.0


def _commit(consumer: KafkaConsumer, owed: deque[Batch]) -> None:
    reached: dict[Any, Any] = {}
    while owed and not owed[0].left:
        for record in owed.popleft().records:
            reached[TopicPartition(record.topic, record.partition)] = OffsetAndMetadata(record.offset + 1, "", -1)
    if reached:
        consumer.commit_async(reached)


if __name__ == "__main__":
    main()
