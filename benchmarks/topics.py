"""Kafka for the benchmarks: a broker, topics filled ahead, and what a group has committed."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from benchmarks.payments import Record
from tests.servers import Kafka

PARTITIONS = 4


def broker() -> Kafka:
    """A real broker whose topics have four partitions. Its log is kept in the page cache's time, as always."""
    return Kafka({"num.partitions": str(PARTITIONS), "log.flush.interval.messages": "1000000000"})


def name(purpose: str) -> str:
    """A name that no earlier run has used."""
    return f"{purpose}-{uuid.uuid4().hex[:8]}"


def create(address: str, topic: str) -> None:
    """Make a topic of four partitions."""
    from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

    admin = AdminClient({"bootstrap.servers": address})
    for done in admin.create_topics([NewTopic(topic, PARTITIONS, 1)]).values():
        done.result()


def delete(address: str, topic: str) -> None:
    """Remove a topic and what it holds."""
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": address})
    for done in admin.delete_topics([topic]).values():
        done.result()


def fill(address: str, topic: str, records: Sequence[Record], count: int) -> None:
    """Write `count` records, the given ones over and over, and wait until the broker has them."""
    from confluent_kafka import Producer

    producer = Producer(
        {
            "bootstrap.servers": address,
            "linger.ms": 50,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": 500_000,
        }
    )
    produce, poll = producer.produce, producer.poll
    for number in range(count):
        record = records[number % len(records)]
        while True:
            try:
                produce(topic, record.value, record.key)
                break
            except BufferError:
                poll(0.1)
        if not number & 8191:
            poll(0)
    producer.flush()


def committed(address: str, topic: str, group: str) -> int:
    """How many records of a topic a group has confirmed."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": address, "group.id": group})
    found = consumer.committed([TopicPartition(topic, number) for number in range(PARTITIONS)], timeout=10)
    consumer.close()
    return sum(max(0, partition.offset) for partition in found)


def length(address: str, topic: str) -> int:
    """How many records a topic has."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": address, "group.id": "benchmarks-look"})
    ends = [consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10) for number in range(PARTITIONS)]
    consumer.close()
    return sum(high - low for low, high in ends)
