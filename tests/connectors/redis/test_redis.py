"""Redis streams keep the contracts of sources and sinks, and what is said of leases, trimming and full streams."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from penstock.connectors import Message, Settings, Site, Source
from penstock.connectors.redis.endpoint import Redis
from penstock.connectors.redis.entry import place
from penstock.connectors.redis.sink import RedisSink
from penstock.connectors.redis.source import RedisSource
from penstock.connectors.store.command import pack
from penstock.connectors.store.connection import Connection
from penstock.errors import ConfigError, DeclarationError, Unavailable, Undeliverable
from tests.connectors.contract import (
    KeyedSinkContract,
    Ledger,
    LogContract,
    Record,
    SinkOutageContract,
    SourceOutageContract,
    by_partition,
    take,
    until,
)
from tests.servers import Redis as RedisServer

NAMES = (f"{uuid4().hex[:8]}-{number}" for number in count())
"""Names that no other run has on a server that several share."""
OURS = {b"data", b"key"}


class StreamRig:
    """One stream with two partitions, and a connection that looks into it."""

    def __init__(self, address: str, partitions: int = 2) -> None:
        self.address = address
        self.endpoint = Redis(f"stream-{next(NAMES)}", partitions=partitions)
        self.sites: list[Site] = []
        self.outside = Connection(address, patience=30.0)
        self.ids: dict[int, list[bytes]] = {number: [] for number in range(partitions)}

    @property
    def to(self) -> str:
        return self.endpoint.stream

    def key(self, number: int) -> str:
        return f"{self.endpoint.stream}:{number}"

    def site(self, pipeline: str = "demo") -> Site:
        site = Site(Settings({"PENSTOCK_REDIS": self.address}), pipeline=pipeline)
        self.sites.append(site)
        return site

    def source(self, pipeline: str = "demo") -> RedisSource:
        return self.endpoint.source(self.site(pipeline))

    def binary(self, attributes: Mapping[str, str]) -> dict[str, str]:
        return {f"ce_{name}": value for name, value in attributes.items()}

    async def ask(self, *arguments: str | int | bytes) -> Any:
        return (await self.outside.ask(pack(*arguments)))[0]

    async def produce(self, records: Sequence[Record]) -> None:
        packed = b""
        for record in records:
            fields: list[str | bytes] = []
            if record.value is not None:
                fields += ["data", record.value]
            if record.key is not None:
                fields += ["key", record.key]
            for name, value in record.headers.items():
                fields += [name, value]
            packed += pack("XADD", self.key(record.partition), "*", *fields)
        for record, id in zip(records, await self.outside.ask(packed, len(records)), strict=True):
            self.ids[record.partition].append(id)

    async def confirmed(self) -> int:
        groups = [await self.ask("XINFO", "GROUPS", self.key(number)) for number in self.ids]
        return sum(group[b"entries-read"] or 0 for found in groups for group in found if group[b"name"] == b"demo")

    def identity(self, partition: int, number: int) -> str:
        return f"{self.endpoint.stream}/{partition}/{self.ids[partition][number].decode()}"

    async def received(self, count: int) -> list[Record]:
        records: list[Record] = []

        async def enough() -> bool:
            records.clear()
            for number in self.ids:
                for _, flat in await self.ask("XRANGE", self.key(number), "-", "+"):
                    fields = dict(zip(flat[::2], flat[1::2], strict=True))
                    headers = {name.decode(): value.decode() for name, value in fields.items() if name not in OURS}
                    records.append(Record(fields.get(b"data"), fields.get(b"key"), headers, number))
            return len(records) >= count

        await until(enough)
        return records

    async def close(self) -> None:
        for site in self.sites:
            await site.close()
        await self.outside.close()


class OwnStreamRig(StreamRig):
    """A stream on a server that can be taken away."""

    def __init__(self, server: RedisServer) -> None:
        super().__init__(server.address)
        self.server = server

    async def down(self) -> None:
        self.server.kill()

    async def up(self) -> None:
        self.server.start()
        await until(self._answers)

    async def _answers(self) -> bool:
        try:
            return bool(await self.ask("PING"))
        except Unavailable:
            return False


@pytest.fixture
async def rig(redis_address: str) -> AsyncIterator[StreamRig]:
    rig = StreamRig(redis_address)
    await rig.outside.open()
    yield rig
    await rig.close()


@pytest.fixture
async def own_rig(own_redis: RedisServer) -> AsyncIterator[OwnStreamRig]:
    await own(own_redis)
    rig = OwnStreamRig(own_redis)
    await rig.outside.open()
    yield rig
    await rig.close()


async def own(server: RedisServer) -> None:
    """Have the server lose nothing that it answered."""
    server.settings = {**server.settings, "appendfsync": "always"}
    server.stop()
    server.start()


class TestSource(LogContract):
    pass


class TestSink(KeyedSinkContract):
    pass


class TestSourceOutage(SourceOutageContract):
    @pytest.fixture
    def rig(self, own_rig: OwnStreamRig) -> OwnStreamRig:
        return own_rig


class TestSinkOutage(SinkOutageContract):
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


@asynccontextmanager
async def opened(source: RedisSource) -> AsyncIterator[RedisSource]:
    await source.open()
    try:
        yield source
    finally:
        await source.close()


def held(source: RedisSource) -> set[int]:
    return set(source._held)


def numbered(partition: int, *numbers: int) -> list[Record]:
    return [Record(b"%d" % number, partition=partition) for number in numbers]


# -- leases -----------------------------------------------------------------------------------------------------------


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
    assert all(record.batch.fenced for record in before)
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


# -- what is kept -----------------------------------------------------------------------------------------------------


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


async def test_a_full_stream_makes_its_producer_wait(rig: StreamRig) -> None:
    sink, ledger = RedisSink(rig.to, 1, rig.outside, full=50), Ledger()
    await rig.ask("XGROUP", "CREATE", rig.key(0), "slow", "0", "MKSTREAM")
    await rig.ask("XGROUP", "CREATE", rig.key(0), "quick", "9999999999999-0")
    await sink.open(ledger.settled)
    sink.send([Message(rig.to, b"%d" % number, id=str(number)) for number in range(700)])
    await until(lambda: sink.problem is not None)
    assert sink.problem is not None
    assert sink.problem.startswith(f"{rig.key(0)} is full: 500 entries wait for the group 'slow'; ")
    assert ledger.once(500)
    await rig.ask("XTRIM", rig.key(0), "MAXLEN", 0)
    await until(lambda: ledger.once(700))
    await rig.ask("XTRIM", rig.key(0), "MAXLEN", 0)
    await sink.close()
    assert sink.problem is None


async def test_a_full_stream_without_readers_keeps_the_newest(rig: StreamRig) -> None:
    sink, ledger = RedisSink(rig.to, 1, rig.outside, full=1000), Ledger()
    await sink.open(ledger.settled)
    sink.send([Message(rig.to, b"%d" % number, id=str(number)) for number in range(4000)])
    await sink.flush()
    sink.send([Message(rig.to, b"last", id="last")])
    await sink.close()
    assert ledger.once(4001)
    assert 1000 <= await rig.ask("XLEN", rig.key(0)) < 2000
    [(_, fields)] = await rig.ask("XREVRANGE", rig.key(0), "+", "-", "COUNT", 1)
    assert fields[1] == b"last"


async def test_one_refused_message_does_not_hold_up_the_others(rig: StreamRig) -> None:
    sink, ledger = rig.endpoint.sink(rig.site()), Ledger()
    await rig.ask("SET", "stream-broken:0", "no stream")
    await rig.ask("SET", "stream-other:partitions", 7)
    await sink.open(ledger.settled)
    names = {"a": rig.to, "b": "stream-broken", "c": rig.to, "d": "stream-other", "e": rig.to}
    key = next(b"%d" % number for number in range(9) if place(b"%d" % number, 2) == 0)
    sink.send([Message(to, b"1", key=key, id=id) for id, to in names.items()])
    await sink.flush()
    outcomes = {id: found[0] for id, found in ledger.outcomes.items()}
    assert outcomes["a"] is outcomes["c"] is outcomes["e"] is None
    assert isinstance(outcomes["b"], Undeliverable)
    assert "WRONGTYPE" in str(outcomes["b"])
    assert isinstance(outcomes["d"], Undeliverable)
    assert "has 7 partitions and is declared with 2" in str(outcomes["d"])
    await sink.close()


# -- declarations -----------------------------------------------------------------------------------------------------


async def test_another_number_of_partitions_is_refused(rig: StreamRig) -> None:
    async with opened(rig.source()):
        pass
    other = Redis(rig.endpoint.stream, partitions=3)
    source, sink = other.source(rig.site()), other.sink(rig.site())
    for opening in (source.open(), sink.open(Ledger().settled)):
        with pytest.raises(ConfigError, match="has 2 partitions and is declared with 3: write partitions=2"):
            await opening
    await source.close()
    await sink.close()


async def test_a_key_that_is_no_stream_is_refused(rig: StreamRig) -> None:
    await rig.ask("SET", rig.key(1), "something else")
    source: Source = rig.source()
    with pytest.raises(ConfigError, match=f"{rig.key(1)} cannot be read as a stream"):
        await source.open()
    await source.close()


def test_declarations_that_cannot_work() -> None:
    site = Site(Settings({"PENSTOCK_STORE": "redis://localhost"}))
    with pytest.raises(DeclarationError, match="has no braces"):
        Redis("orders/{region}").source(site)
    with pytest.raises(DeclarationError, match="at least one"):
        Redis("orders", partitions=0)
    with pytest.raises(DeclarationError, match="has a name"):
        Redis("")
    with pytest.raises(DeclarationError, match="braces hold"):
        Redis("orders/{")
    with pytest.raises(ConfigError, match="PENSTOCK_REDIS__EU is not set"):
        Redis("orders", on="eu").sink(site)


async def test_sources_and_sinks_of_a_process_share_a_connection(rig: StreamRig) -> None:
    site = rig.site()
    source, sink = rig.endpoint.source(site), rig.endpoint.sink(site)
    await asyncio.gather(source.open(), sink.open(Ledger().settled))
    assert source._connection is sink._connection
    assert source._connection.statistics().connects == 1
    await source.close()
    await sink.close()
    await site.close()
