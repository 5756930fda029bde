"""Redis streams keep the contract of sources, and what is said of leases and of what is kept."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from penstock.connectors.redis.endpoint import Redis
from tests.connectors.contract import (
    LogContract,
    SourceOutageContract,
    by_partition,
    take,
    until,
)
from tests.connectors.redis.rig import OwnStreamRig, StreamRig, held, numbered, opened


class TestSource(LogContract):
    pass


class TestSourceOutage(SourceOutageContract):
    @pytest.fixture
    def rig(self, own_rig: OwnStreamRig) -> OwnStreamRig:
        return own_rig


class TestValkeySource(LogContract):
    @pytest.fixture
    async def rig(self, valkey_address: str) -> AsyncIterator[StreamRig]:
        rig = StreamRig(valkey_address)
        await rig.outside.open()
        yield rig
        await rig.close()


async def test_processes_share_the_partitions_evenly(redis_address: str) -> None:
    rig = StreamRig(redis_address, partitions=4)
    await rig.outside.open()
    sources = [rig.source() for _ in range(3)]
    async with AsyncExitStack() as stack:
        for source in sources:
            await stack.enter_async_context(opened(source))
        await until(lambda: sorted(len(held(source)) for source in sources) == [1, 1, 2])
        assert set.union(*map(held, sources)) == {0, 1, 2, 3}
    await rig.close()


async def test_a_partition_is_handed_on_when_what_runs_has_finished(rig: StreamRig) -> None:
    async with opened(rig.source()) as first:
        await rig.produce(numbered(0, *range(4)) + numbered(1, *range(4)))
        before = await take(first, 8)
        for record in before:
            record.batch.taken = 2
            if record.index == 0:
                record.settle()
        async with opened(rig.source()) as second:
            await until(lambda: any(record.batch.fenced for record in before))
            [moving] = {record.batch.partition.number for record in before if record.batch.fenced}
            assert not held(second), "what runs is waited for"
            for record in before:
                if record.index == 1:
                    record.settle()
            after = await take(second, 2)
            assert by_partition(after) == {moving: [b"2", b"3"]}
            assert held(first) == {1 - moving}


@pytest.mark.slow
async def test_a_process_that_died_is_followed_when_its_lease_runs_out(rig: StreamRig) -> None:
    dead = rig.source()
    await dead.open()
    await rig.produce(numbered(0, *range(3)) + numbered(1, *range(3)))
    for record in await take(dead, 6):
        if record.value == b"0":
            record.settle()
    await dead.confirm()
    for task in dead._tasks:
        task.cancel()
    async with opened(rig.source()) as heir:
        assert not held(heir)
        after = await take(heir, 4)
        assert by_partition(after) == {0: [b"1", b"2"], 1: [b"1", b"2"]}
    await dead._reader.close()
    await dead._connection.close()


HOLDER = """
import asyncio, sys
from penstock.connectors import Redis, Settings, Site

async def main():
    source = Redis(sys.argv[2], partitions=2).source(Site(Settings({"PENSTOCK_REDIS": sys.argv[1]}), pipeline="demo"))
    await source.open()
    print("held", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_process_of_this_machine_that_was_killed_is_followed_at_once(rig: StreamRig) -> None:
    await rig.produce(numbered(0, 1) + numbered(1, 2))
    arguments = [sys.executable, "-c", HOLDER, rig.address, rig.to]
    process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    async with asyncio.timeout(30):
        assert await process.stdout.readline() == b"held\n"
    source = rig.source()
    async with opened(source):
        assert not source._held, "it lives, so it keeps what it has"
        process.kill()
        await process.wait()
        await source._beat()
        assert sorted(source._held) == [0, 1]
        assert {record.value for record in await take(source, 2)} == {b"1", b"2"}


async def test_who_has_lost_a_lease_moves_nothing(rig: StreamRig) -> None:
    """A process is frozen; its leases run out and are taken over; when it goes on, it confirms in vain and notices."""
    frozen = rig.source()
    await frozen.open()
    await rig.produce(numbered(0, 1, 2, 3))
    before = await take(frozen, 3)
    for number in range(2):
        key = f"{{{rig.key(number)}}}:lease:demo"
        await rig.ask("SET", key, "999 another", "PX", 60_000)
    for record in before[:2]:
        record.settle()
    await frozen.confirm()
    assert await rig.confirmed() == 0
    await until(lambda: not held(frozen))
    assert all(record.batch.fenced and record.batch.void for record in before)
    await frozen.close()
    assert await rig.ask("GET", f"{{{rig.key(0)}}}:lease:demo") == b"999 another"


async def test_tokens_grow_with_every_holder(rig: StreamRig) -> None:
    for expected in (b"1", b"2", b"3"):
        async with opened(rig.source()) as source:
            assert {holding.lease.split()[0] for holding in source._held.values()} == {expected}
    assert await rig.ask("EXISTS", f"{{{rig.key(0)}}}:lease:demo") == 0, "leaving gives the lease back"


async def test_a_lease_that_ran_out_and_that_nobody_took_is_kept(rig: StreamRig) -> None:
    async with opened(rig.source()) as source:
        await rig.produce(numbered(0, 1))
        [record] = await take(source, 1)
        for number in range(2):
            await rig.ask("DEL", f"{{{rig.key(number)}}}:lease:demo")
        await source._beat()
        assert held(source) == {0, 1}
        assert not record.batch.fenced
        record.settle()
        await source.confirm()
        assert await rig.confirmed() == 1


async def test_what_every_group_has_finished_is_removed(rig: StreamRig) -> None:
    async with opened(rig.source()) as one, opened(rig.source("other")) as other:
        await rig.produce(numbered(0, *range(10)))
        ours, theirs = await take(one, 10), await take(other, 10)
        for record in ours:
            record.settle()
        for record in theirs[:4]:
            record.settle()
        await one.confirm()
        await other.confirm()
        assert await rig.confirmed() == 10
        await one.confirm()
        [(first, _)] = await rig.ask("XRANGE", rig.key(0), "-", "+", "COUNT", 1)
        assert first == rig.ids[0][4]
        for record in theirs[4:]:
            record.settle()
        await other.confirm()
        assert await rig.ask("XLEN", rig.key(0)) == 0


async def test_what_a_foreign_consumer_has_not_acknowledged_stays(rig: StreamRig) -> None:
    async with opened(rig.source()) as source:
        await rig.ask("XGROUP", "CREATE", rig.key(0), "foreign", "0")
        await rig.produce(numbered(0, *range(5)))
        for record in await take(source, 5):
            record.settle()
        await rig.ask("XREADGROUP", "GROUP", "foreign", "it", "STREAMS", rig.key(0), ">")
        await rig.ask("XACK", rig.key(0), "foreign", rig.ids[0][0], rig.ids[0][3])
        await source.confirm()
        [(first, _)] = await rig.ask("XRANGE", rig.key(0), "-", "+", "COUNT", 1)
        assert first == rig.ids[0][1]


async def test_a_group_of_its_own(rig: StreamRig) -> None:
    await rig.produce(numbered(0, 1, 2))
    endpoint = Redis(rig.endpoint.stream, partitions=2, group="audit")
    async with opened(rig.source()) as ours, opened(endpoint.source(rig.site())) as audit:
        for source in (ours, audit):
            assert [record.value for record in await take(source, 2)] == [b"1", b"2"]


async def test_a_stream_that_is_none_any_more_is_left_all_the_same(rig: StreamRig) -> None:
    await rig.produce(numbered(0, 1) + numbered(1, 2))
    source = rig.source()
    await source.open()
    for record in await take(source, 2):
        record.settle()
    for number in (0, 1):
        await rig.ask("SET", rig.key(number), "something else")
    await source.close()
    assert source._reader.problem == "the connection is closed"
