"""Members with a name: back at once when they were killed, not waited for when they have left."""

from __future__ import annotations

import asyncio

import pytest

from penstock.connectors import Source
from penstock.connectors.kafka.seat import Seat
from tests.connectors.contract import (
    Record,
    take,
    until,
)
from tests.connectors.kafka.rig import KafkaRig, in_thread
from tests.connectors.kafka.worker import working
from tests.connectors.source_contract import opened, plain

pytestmark = pytest.mark.slow


async def test_a_killed_member_is_back_at_once(kafka_address: str, client: str) -> None:
    """Its session would last for 45 s more."""
    rig = KafkaRig(kafka_address, client, partitions=1)
    await rig.produce(plain(b"0", b"1"))

    def killed() -> None:
        with working(rig.variables, rig.to, 2, "0"):
            pass

    await in_thread(killed)
    async with asyncio.timeout(15), opened(rig) as source:
        [record] = await take(source, 1)
        assert record.value == b"0"


async def test_a_member_that_leaves_in_order_is_not_waited_for(kafka_address: str, client: str) -> None:
    rig = KafkaRig(kafka_address, client, settings={"PENSTOCK_KAFKA_DRAIN_TIMEOUT": "1s"})
    async with opened(rig) as other:
        async with opened(rig) as first:
            await rig.produce(plain(b"0") + plain(b"1", partition=1))
            received = [asyncio.ensure_future(take(source, 1)) for source in (first, other)]
            await asyncio.wait(received, return_when=asyncio.FIRST_COMPLETED)
            for each in received:
                each.cancel()
            await asyncio.wait(received)
        async with asyncio.timeout(20):
            await rig.produce(plain(b"2") + plain(b"3", partition=1))
            seen: set[object] = set()
            while not seen >= {b"2", b"3"}:
                seen |= {record.value for record in await take(other, 1)}


async def test_a_member_whose_name_another_takes_goes_on_without(
    kafka_address: str, client: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two containers with one host name, each with a place for locks of its own."""
    monkeypatch.setattr(Seat, "_take", lambda *_: 0)
    rig = KafkaRig(kafka_address, client, partitions=4, settings={"PENSTOCK_KAFKA_DRAIN_TIMEOUT": "1s"})
    async with opened(rig) as first:
        await rig.produce([Record(b"%d" % n, partition=n) for n in range(4)])
        for record in await take(first, 4):
            record.settle()
        await first.confirm()
        async with opened(rig) as second:
            seen: dict[object, set[object]] = {first: set(), second: set()}

            async def read(source: Source) -> None:
                while True:
                    for record in await take(source, 1):
                        seen[source].add(record.value)
                        record.settle()

            reading = [asyncio.ensure_future(read(source)) for source in (first, second)]
            await until(lambda: "goes on without one" in caplog.text)
            for values in seen.values():
                values.clear()
            number = 4

            async def both() -> bool:
                nonlocal number
                await rig.produce([Record(b"%d" % n, partition=n % 4) for n in range(number, number + 4)])
                number += 4
                return bool(seen[first]) and bool(seen[second])

            await until(both)
            await until(lambda: len(seen[first] | seen[second]) == number - 4)
            for each in reading:
                each.cancel()
            await asyncio.wait(reading)
            assert first.problem is None
            assert second.problem is None
