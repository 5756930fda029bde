"""What the producer on confluent-kafka gathers, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from penstock.connectors import Message
from penstock.connectors.kafka.confluent_producer import MANY
from penstock.connectors.kafka.sink import KafkaSink
from penstock.errors import Unavailable
from tests.connectors.kafka.rig import KafkaRig
from tests.connectors.rig import PATIENCE, Ledger

pytestmark = pytest.mark.slow


@pytest.fixture
async def rig(kafka_address: str) -> AsyncIterator[KafkaRig]:
    """What follows a message within an hour goes together after it."""
    made = KafkaRig(kafka_address, "confluent", partitions=1, settings={"PENSTOCK_KAFKA_LINGER": "1h"})
    yield made
    await made.close()


async def opened(rig: KafkaRig, ledger: Ledger) -> KafkaSink:
    """A sink whose first message has been delivered: it waited for nothing."""
    sink = rig.endpoint.sink(rig.site())
    await sink.open(ledger.settled)
    sink.send([message(rig, 0)])
    await delivered(sink)
    return sink


def message(rig: KafkaRig, number: int) -> Message:
    return Message(rig.to, b"%d" % number, b"k", id=str(number))


async def delivered(sink: KafkaSink) -> None:
    async with asyncio.timeout(PATIENCE):
        await sink.flush()


async def test_what_gathers_goes_together_in_order_when_it_is_many(rig: KafkaRig) -> None:
    ledger = Ledger()
    sink = await opened(rig, ledger)
    sink.send([message(rig, 1)])
    sink.send([message(rig, number) for number in range(2, MANY + 1)])
    await delivered(sink)
    assert ledger.once(MANY + 1)
    await sink.producer.close()
    assert [record.value for record in await rig.received(MANY + 1)] == [b"%d" % number for number in range(MANY + 1)]


async def test_what_has_gathered_comes_out_in_order_when_the_producer_gives_up(rig: KafkaRig) -> None:
    ledger = Ledger()
    sink = await opened(rig, ledger)
    sink.send([message(rig, 1), message(rig, 2)])
    sink.send([message(rig, 3)])
    await sink.producer.close()
    assert [one.id for one in ledger.failed] == ["1", "2", "3"]
    assert all(isinstance(ledger.outcomes[one.id][-1], Unavailable) for one in ledger.failed)
    assert ledger.outcomes["0"] == [None]


async def test_both_clients_put_a_key_in_one_partition(kafka_address: str) -> None:
    """As the Java client does: kafka-python's own partitioner says where that is."""
    keys = [b"", b"k", b"card-0001", "schlüssel".encode(), bytes(range(256))]
    places = []
    for client in ("confluent", "kafka-python"):
        rig, ledger = KafkaRig(kafka_address, client, partitions=4), Ledger()
        sink = rig.endpoint.sink(rig.site())
        await sink.open(ledger.settled)
        sink.send([Message(rig.to, key, key, id=str(number)) for number, key in enumerate(keys * 2)])
        await delivered(sink)
        await sink.producer.close()
        places.append({record.value: record.partition for record in await rig.received(2 * len(keys))})
        await rig.close()
    assert places[0] == places[1] == {key: _murmur2(key) % 4 for key in keys}


def _murmur2(key: bytes) -> int:
    from kafka.partitioner.default import murmur2

    return int(murmur2(key)) & 0x7FFFFFFF
