"""Topics as sinks keep the contracts, through both clients, and what no broker takes is refused alone."""

from __future__ import annotations

import asyncio

import pytest

from penstock.connectors import Message
from penstock.errors import Undeliverable
from tests.connectors.contract import (
    PATIENCE,
    KeyedSinkContract,
    Ledger,
)
from tests.connectors.kafka.rig import KafkaRig

pytestmark = pytest.mark.slow


class TestSink(KeyedSinkContract):
    """A topic as a sink."""


async def test_what_no_broker_takes_is_refused_alone(rig: KafkaRig) -> None:
    site = rig.site()
    sink, ledger = rig.endpoint.sink(site), Ledger()
    await sink.open(ledger.settled)
    large = Message(rig.to, b"x" * 20_000_000, id="large")
    nowhere = Message("no such/topic", b"{}", id="nowhere")
    sink.send([Message(rig.to, b"1", id="first"), large, nowhere, Message(rig.to, b"2", id="last")])
    async with asyncio.timeout(PATIENCE):
        await sink.flush()
    assert ledger.outcomes["first"] == ledger.outcomes["last"] == [None]
    for refused in ("large", "nowhere"):
        [outcome] = ledger.outcomes[refused]
        assert isinstance(outcome, Undeliverable), (refused, outcome)
    await sink.close()
    await site.close()
    assert {record.value for record in await rig.received(2)} == {b"1", b"2"}


async def test_what_is_too_large_for_its_topic_is_refused_alone(kafka_address: str, client: str) -> None:
    """The broker refuses whole batches: the innocent of one arrive all the same, once, in order."""
    rig = KafkaRig(kafka_address, client, partitions=1, config={"max.message.bytes": "20000"})
    site = rig.site()
    sink, ledger = rig.endpoint.sink(site), Ledger()
    await sink.open(ledger.settled)
    fillings = [b"%d " % number + bytes(1000) for number in range(60)]
    messages = [
        Message(rig.to, value, b"k", id=str(number), time=number + 1.0) for number, value in enumerate(fillings)
    ]
    messages.insert(30, Message(rig.to, bytes(30_000), b"k", id="large", time=30.5))
    sink.send(messages)
    async with asyncio.timeout(PATIENCE):
        await sink.flush()
    assert [name for name, found in ledger.outcomes.items() if found != [None]] == ["large"]
    [refused] = ledger.outcomes["large"]
    assert isinstance(refused, Undeliverable)
    await sink.close()
    await site.close()
    assert [(record.value or b"").split(b" ")[0] for record in await rig.received(60)] == [
        one.split(b" ")[0] for one in fillings
    ]
    await rig.close()
