"""Where partitions begin: the first time, after a kill, and when the topic is another one."""

from __future__ import annotations

import asyncio

import pytest

from penstock.connectors.kafka.note import Span, write
from tests.connectors.contract import (
    Record,
    take,
    until,
)
from tests.connectors.kafka.rig import CLIENTS, KafkaRig, in_thread
from tests.connectors.kafka.worker import working
from tests.connectors.source_contract import opened, plain

pytestmark = pytest.mark.slow


# A member's heartbeat tells it of a rebalance, and comes three times in a session.
QUICK = {"PENSTOCK_KAFKA_SESSION_TIMEOUT": "3s"}


async def test_latest_is_resolved_once(kafka_address: str, client: str) -> None:
    rig = KafkaRig(kafka_address, client, start="latest")
    await rig.produce(plain(b"before"))
    async with opened(rig):
        pass
    await rig.produce(plain(b"while away", partition=1))
    async with opened(rig) as source:
        [record] = await take(source, 1)
        assert record.value == b"while away"


async def test_a_partition_added_later_is_read_from_its_beginning(kafka_address: str, client: str) -> None:
    rig = KafkaRig(kafka_address, client, start="latest", settings={"PENSTOCK_KAFKA_METADATA_INTERVAL": "500ms"})
    await rig.produce(plain(b"before"))
    async with opened(rig) as source:
        await rig.add_partitions(3)
        await rig.produce(plain(b"first", b"second", partition=2))
        taken = await take(source, 2)
        assert [record.value for record in taken] == [b"first", b"second"]


async def test_what_was_finished_before_a_kill_does_not_come_again(kafka_address: str, client: str) -> None:
    rig = KafkaRig(kafka_address, client, partitions=1, settings=QUICK)
    await rig.produce([Record(b"%d" % number) for number in range(500)])

    def killed() -> None:
        with working(rig.variables, rig.to, 500, "0", "7"):
            pass

    await in_thread(killed)
    assert (await rig.committed())[0].offset == 0
    async with opened(rig) as source:
        await rig.produce(plain(b"next"))
        again = await take(source, 3)
        assert [record.value for record in again] == [b"0", b"7", b"next"]
        again[0].settle()
        await source.confirm()
        assert (await rig.committed())[0].offset == 7, "what was left out counts as finished"
        again[1].settle()
        await source.confirm()
        assert (await rig.committed())[0].offset == 500


async def test_a_partition_whose_records_are_all_finished_is_committed_whole(kafka_address: str, client: str) -> None:
    """Nothing of it reaches the engine, and yet the commit goes on."""
    rig = KafkaRig(kafka_address, client, partitions=1)
    await rig.produce([Record(b"%d" % number) for number in range(50)])
    async with opened(rig) as source:
        await take(source, 50)
    note = write((await rig.committed())[0].metadata.split()[1], 0, [Span(0, 50)])
    await rig.commit({0: (0, note)})
    async with opened(rig) as source:
        arriving = asyncio.ensure_future(take(source, 1))

        async def committed() -> bool:
            return (await rig.committed())[0].offset == 50

        await until(committed)
        await rig.produce(plain(b"next"))
        [record] = await arriving
        assert record.value == b"next"
        record.settle()


async def test_a_foreign_note_is_ignored(kafka_address: str, client: str) -> None:
    rig = KafkaRig(kafka_address, client, partitions=1)
    await rig.produce(plain(b"0", b"1", b"2", b"3"))
    for text in ("kept by another tool", "penstock/1 ", "penstock/1 - BB 00000000", "penstock/2 x BB abc"):
        await rig.commit({0: (1, text)})
        async with opened(rig) as source:
            again = await take(source, 3)
            assert [record.value for record in again] == [b"1", b"2", b"3"]


@pytest.mark.parametrize("start", ["earliest", "latest"])
async def test_a_topic_made_anew_while_it_is_read_is_read_from_its_beginning(
    kafka_address: str, client: str, start: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"PENSTOCK_KAFKA_METADATA_INTERVAL": "300ms", "PENSTOCK_KAFKA_DRAIN_TIMEOUT": "500ms"}
    rig = KafkaRig(kafka_address, client, partitions=1, start=start, settings=settings)
    async with opened(rig) as source:
        await rig.produce(plain(b"old 0", b"old 1", b"old 2"))
        before = await take(source, 3)
        for record in before[:2]:
            record.settle()
        await source.confirm()
        await rig.recreate()
        await rig.produce(plain(*(b"new %d" % number for number in range(5))))
        seen = await take(source, 5)
        assert [record.value for record in seen] == [b"new %d" % number for number in range(5)]
        assert {record.batch.partition.topic for record in seen} == {await in_thread(rig.identify)}
        assert not {record.batch.position(record.index) for record in seen} & {
            record.batch.position(record.index) for record in before
        }
        before[2].settle()
        for record in seen:
            record.settle()
        await source.confirm()
        assert await rig.confirmed() == 5
        assert source.problem is None
    assert "was deleted and made anew" in caplog.text


async def test_a_topic_made_anew_while_nobody_reads_it_is_read_from_its_beginning(
    kafka_address: str, client: str, caplog: pytest.LogCaptureFixture
) -> None:
    rig = KafkaRig(kafka_address, client, partitions=1)
    await rig.produce(plain(b"old 0", b"old 1", b"old 2"))
    async with opened(rig) as source:
        for record in await take(source, 3):
            record.settle()
        await source.confirm()
        kept = (await rig.committed())[0]
    await rig.recreate()
    await rig.produce(plain(*(b"new %d" % number for number in range(5))))
    # Brokers forget commits of a deleted topic, unless the commit comes after it.
    await rig.commit({0: (kept.offset, kept.metadata)})
    async with opened(rig) as source:
        seen = await take(source, 5)
        assert [record.value for record in seen] == [b"new %d" % number for number in range(5)]
        for record in seen:
            record.settle()
        await source.confirm()
        assert await rig.confirmed() == 5
    assert "the commit 3 of the old one is void" in caplog.text


async def test_both_clients_call_a_topic_by_one_identity(kafka_address: str) -> None:
    """Whatever digits it has: a change of the client is no change of the topic."""
    made = [KafkaRig(kafka_address, "confluent", partitions=1) for _ in range(12)]
    identities = [await in_thread(rig.identify) for rig in made]
    rig, identity = max(zip(made, identities, strict=True), key=lambda one: bool({"-", "_"} & set(one[1])))
    for client in CLIENTS:
        rig.variables["PENSTOCK_KAFKA_CLIENT"] = client
        async with opened(rig) as source:
            await rig.produce(plain(b"0"))
            assert (await take(source, 1))[0].batch.partition.topic == identity


async def test_a_commit_beyond_the_end_is_told(
    kafka_address: str, client: str, caplog: pytest.LogCaptureFixture
) -> None:
    rig = KafkaRig(kafka_address, client, partitions=1)
    await rig.produce(plain(b"0", b"1"))
    await rig.commit({0: (1000, "")})
    async with opened(rig) as source:
        assert [record.value for record in await take(source, 2)] == [b"0", b"1"]
    assert "the commit 1000 is beyond the partition's end" in caplog.text


async def test_records_that_were_deleted_unread_are_told(
    kafka_address: str, client: str, caplog: pytest.LogCaptureFixture
) -> None:
    rig = KafkaRig(kafka_address, client, partitions=1)
    await rig.produce(plain(b"0", b"1", b"2"))
    await rig.commit({0: (1, "")})
    await in_thread(lambda: rig.delete_before(2))
    async with opened(rig) as source:
        assert [record.value for record in await take(source, 1)] == [b"2"]
    assert "offsets 1 to 1 were deleted by the broker" in caplog.text
