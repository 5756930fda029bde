"""`decide` from topic to topic by hand over confluent-kafka: lists, asked for one ahead, every delivery tracked.

While Redis works on a list, the one before it is decided and produced. A list's offsets are stored when the last of its
decisions was confirmed, and all lists before it: at least once. No order of keys beyond the partition's, no headers, no
retry, no metrics.
"""

from __future__ import annotations

import os
from collections import deque
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

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

    def delivered(self, error: Any, _: Any) -> None:
        if error is not None:
            raise RuntimeError(error.str())
        self.left -= 1

    def reached(self) -> list[TopicPartition]:
        """The offsets to go on from."""
        last = {record.partition(): record for record in self.records}
        return [TopicPartition(each.topic(), each.partition(), each.offset() + 1) for each in last.values()]


def main() -> None:
    """Run until the turn is over."""
    broker, out = os.environ["BENCH_KAFKA"], os.environ["BENCH_OUT"]
    consumer = Consumer(
        {
            "bootstrap.servers": broker,
            "group.id": os.environ["BENCH_GROUP"],
            "auto.offset.reset": "earliest",
            "enable.auto.offset.store": False,
            "auto.commit.interval.ms": 1000,
        }
    )
    consumer.subscribe([os.environ["BENCH_TOPIC"]])
    producer = Producer(
        {
            "bootstrap.servers": broker,
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 5,
            "batch.size": 262_144,
            "queue.buffering.max.messages": 200_000,
        }
    )
    decider = Decider(os.environ["PENSTOCK_STORE"], os.environ["PENSTOCK_MODELS"])
    one, produce, poll = Turn.given().one, producer.produce, producer.poll
    asked: deque[Batch] = deque()
    owed: deque[Batch] = deque()
    while True:
        records: list[Any] = consumer.consume(MOST, 0.0 if asked else 0.01)
        if records:
            for record in records:
                if record.error():
                    raise RuntimeError(record.error().str())
            asked.append(Batch(records, decider.ask([record.value() for record in records])))
        if asked and (len(asked) > 1 or not records):
            batch = asked.popleft()
            delivered = batch.delivered
            for record, decision in zip(batch.records, decider.decide(batch.payments), strict=True):
                produce(out, decision, record.key(), on_delivery=delivered)
                one()
            owed.append(batch)
        poll(0)
        while len(owed) > 200:
            poll(0.01)
            _store(consumer, owed)
        _store(consumer, owed)


def _store(consumer: Consumer, owed: deque[Batch]) -> None:
    while owed and not owed[0].left:
        consumer.store_offsets(offsets=owed.popleft().reached())


if __name__ == "__main__":
    main()
