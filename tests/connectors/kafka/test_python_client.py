"""What kafka-python does not do by itself."""

from __future__ import annotations

import gc
import threading

import pytest

from penstock.connectors import Settings
from penstock.connectors.kafka.python_client import connected, leave
from tests.connectors.kafka.rig import KafkaRig
from tests.connectors.rig import until

pytestmark = pytest.mark.slow


async def test_a_producer_that_leaves_something_behind_leaves_nothing_running(kafka_address: str) -> None:
    """Its own `close` raises, and raises again when the garbage is collected: pytest would tell of it."""
    rig = KafkaRig(kafka_address, "kafka-python", partitions=1)
    settings = Settings(rig.variables).kafka("")
    before = set(threading.enumerate())
    producer = connected(settings, "leaving", "KafkaProducer", {"linger_ms": 600_000, "delivery_timeout_ms": 900_000})
    producer.send(rig.to, b"never sent", partition=0)
    leave(producer, 0)
    await until(lambda: set(threading.enumerate()) <= before)
    del producer
    gc.collect()
