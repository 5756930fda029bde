"""Topics as sources keep the contracts, through both clients, while members come and go."""

from __future__ import annotations

import asyncio
import contextlib

import confluent_kafka as ck
import pytest

from penstock.connectors import Batch, Kafka, Settings, Site
from penstock.connectors.kafka.poller import FULL
from penstock.connectors.kafka.python_client import library
from penstock.connectors.kafka.source import KafkaSource
from penstock.errors import BadEvent, ConfigError
from tests.connectors.contract import (
    PATIENCE,
    LogContract,
    Record,
    take,
    until,
)
from tests.connectors.kafka.rig import KafkaRig, in_thread
from tests.connectors.source_contract import opened, plain

pytestmark = pytest.mark.slow


# A member's heartbeat tells it of a rebalance, and comes three times in a session.
QUICK = {"PENSTOCK_KAFKA_SESSION_TIMEOUT": "3s"}


class TestSource(LogContract):
    """A topic as a source."""


async def test_a_missing_address_is_named() -> None:
    with pytest.raises(ConfigError, match="PENSTOCK_KAFKA is not set"):
        Kafka("t").source(Site(Settings({})))


async def test_partitions_that_leave_wait_for_what_runs(kafka_address: str, client: str) -> None:
    """A second member takes over half of the partitions: nothing is lost, and nothing that was started is repeated."""
    rig = KafkaRig(kafka_address, client, partitions=4, settings=QUICK)
    records = [Record(b"%d" % n, partition=n % 4) for n in range(400)]
    async with opened(rig) as first:
        await rig.produce(records)
        running = await take(first, 400)
        async with opened(rig) as second:
            # The group waits for the first member, which waits for what runs.
            arriving = asyncio.ensure_future(take(second, 1))
            await until(lambda: any(record.batch.fenced for record in running))
            assert not arriving.done()
            for record in running:
                record.settle()
            more = [Record(b"%d" % n, partition=n % 4) for n in range(400, 440)]
            await rig.produce(more)
            seen = await arriving
            while len({record.batch.partition.number for record in seen}) < 2 or len(seen) < 20:
                seen += await take(second, 1)
            rest = await take(first, 20)
            for record in (*seen, *rest):
                record.settle()
            assert {record.value for record in seen} | {record.value for record in rest} == {r.value for r in more}
            assert len(seen) + len(rest) == 40, "nothing came twice"
            await first.confirm()
            await second.confirm()
            assert await rig.confirmed() == 440


async def test_what_is_fenced_and_not_started_goes_to_the_next_owner(kafka_address: str, client: str) -> None:
    rig = KafkaRig(kafka_address, client, partitions=2, settings=QUICK)
    async with opened(rig) as first:
        await rig.produce([Record(b"%d" % n, partition=n % 2) for n in range(100)])
        batches: list[Batch] = []
        while sum(map(len, batches)) < 100:
            batches += await first.receive()
        async with opened(rig) as second:
            seen = await take(second, 50)
            assert len({record.batch.partition.number for record in seen}) == 1
            number = seen[0].batch.partition.number
            assert [record.value for record in seen] == [b"%d" % n for n in range(100) if n % 2 == number]
            assert all(batch.fenced == batch.void == (batch.partition.number == number) for batch in batches)


@pytest.mark.slow
async def test_not_receiving_for_long_keeps_the_partitions(kafka_address: str, client: str) -> None:
    """Backpressure beyond the time after which the group takes a silent member for stuck."""
    rig = KafkaRig(kafka_address, client, settings={**QUICK, "PENSTOCK_KAFKA_POLL_INTERVAL": "4s"})
    loop = asyncio.get_running_loop()
    async with opened(rig) as source:
        count = 4 * FULL
        await rig.produce([Record(b"%d" % n) for n in range(count)])
        seen = [record.value for record in await take(source, 1)]
        resume = loop.time() + 6
        await until(lambda: loop.time() > resume)
        while len(seen) < count:
            seen += [record.value for record in await take(source, 1)]
        assert seen == [b"%d" % n for n in range(count)]
        assert source.problem is None


async def test_a_partition_far_ahead_of_its_commit_is_read_no_further(
    kafka_address: str, client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.connectors.kafka.poller.SPAN", 1000)
    rig = KafkaRig(kafka_address, client, settings={"PENSTOCK_KAFKA_COMMIT_INTERVAL": "100ms"})
    count = 3 * FULL
    async with opened(rig) as source:
        assert isinstance(source, KafkaSource)
        await rig.produce([Record(b"%d" % n, partition=0) for n in range(count)])
        [parked, *others] = await take(source, 1100)
        for record in others:
            record.settle()
        loop = asyncio.get_running_loop()
        held = loop.time() + 2.5
        seen = [parked, *others]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(held):
                while True:
                    more = await take(source, 1)
                    seen += more
                    for record in more:
                        record.settle()
        taken = len(seen)
        assert taken < count
        assert source.span() == taken
        await rig.produce(plain(b"elsewhere", partition=1))
        [record] = await take(source, 1)
        assert record.value == b"elsewhere", "the other partition goes on"
        record.settle()
        parked.settle()
        while len(seen) < count:
            more = await take(source, 1)
            seen += more
            for record in more:
                record.settle()
        assert [record.value for record in seen] == [b"%d" % n for n in range(count)]


async def test_offsets_have_gaps(kafka_address: str, client: str) -> None:
    """Transaction markers take offsets, and what was aborted is not seen."""
    rig = KafkaRig(kafka_address, client)
    await in_thread(lambda: transactions(rig))
    async with opened(rig) as source:
        await rig.produce(plain(b"last"))
        taken = await take(source, 5)
        assert [record.value for record in taken] == [b"a0", b"a1", b"c0", b"c1", b"last"]
        for record in taken[:3]:
            record.settle()
        await source.confirm()
        # a0 a1 marker b0 b1 marker c0
        assert await rig.confirmed() == 7
    async with opened(rig) as source:
        again = await take(source, 2)
        assert [record.value for record in again] == [b"c1", b"last"]


def transactions(rig: KafkaRig) -> None:
    """Write a0 a1, b0 b1 and c0 c1 in one transaction each, and abort that of b."""
    config = {"bootstrap.servers": rig.address, "transactional.id": rig.to}
    producer = ck.Producer(config)
    producer.init_transactions(PATIENCE)
    for name in (b"a", b"b", b"c"):
        producer.begin_transaction()
        for number in (b"0", b"1"):
            producer.produce(rig.to, name + number, partition=0)
        # What is aborted before it was sent leaves no trace.
        producer.flush(PATIENCE)
        if name == b"b":
            producer.abort_transaction(PATIENCE)
        else:
            producer.commit_transaction(PATIENCE)


class Raw(str):
    """A header's name that goes over the wire as bytes which are no text."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"\xff\xfe"


async def test_a_header_whose_name_is_no_text_does_not_end_its_partition(rig: KafkaRig, client: str) -> None:
    """Neither client reads it, and each would stop there for ever."""

    def produce() -> None:
        producer = library("kafka").KafkaProducer(bootstrap_servers=rig.address)
        for number in range(3):
            headers = [(Raw("name"), b"1")] if number == 1 else []
            producer.send(rig.to, str(number).encode(), headers=headers, partition=0)
        producer.flush()
        producer.close()

    await in_thread(produce)
    seen: dict[object, object] = {}
    async with opened(rig) as source, asyncio.timeout(PATIENCE):
        while len(seen) < 3:
            for batch in await source.receive():
                for index in range(len(batch)):
                    seen[batch.event(index).data] = batch.values[index]
                    batch.settle(index)
    assert (seen[b"0"], seen[b"2"]) == (b"0", b"2")
    assert isinstance(seen[b"1"], BadEvent) if client == "confluent" else seen[b"1"] == b"1"
