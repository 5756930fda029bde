"""The in-process topics keep the contracts that real brokers keep."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from penstock.connectors import Message, Settings, Site
from penstock.connectors.memory import Memory
from penstock.connectors.topics import Topics
from tests.connectors.contract import (
    KeyedSinkContract,
    LogContract,
    Record,
    SinkOutageContract,
    SourceOutageContract,
    take,
)


class MemoryRig:
    """Topics that outlive the sites that use them, as a broker outlives its clients."""

    to = "things"

    def __init__(self) -> None:
        self.topics = Topics()
        self.endpoint = Memory(self.to, partitions=2)

    def site(self) -> Site:
        site = Site(Settings({}), pipeline="contract")
        site.share("memory", lambda: self.topics)
        return site

    def binary(self, attributes: Mapping[str, str]) -> dict[str, str]:
        return {f"ce_{name}": value for name, value in attributes.items()}

    async def produce(self, records: Sequence[Record]) -> None:
        topic = self.topics.topic(self.to, 2)
        for record in records:
            topic.put(record.value, key=record.key, headers=record.headers, partition=record.partition)

    async def confirmed(self) -> int:
        return sum(self.topics.topic(self.to).position("contract"))

    def identity(self, partition: int, number: int) -> str:
        return f"things/{partition}/{number}"

    async def received(self, count: int) -> list[Record]:
        entries = self.topics.topic(self.to).entries()
        assert len(entries) >= count
        return [Record(entry.value, entry.key, entry.headers, entry.partition) for entry in entries]

    async def down(self) -> None:
        self.topics.available = False

    async def up(self) -> None:
        self.topics.available = True

    async def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def rig() -> MemoryRig:
    return MemoryRig()


class TestSource(LogContract, SourceOutageContract):
    """A topic of this process as a source."""


class TestSink(KeyedSinkContract, SinkOutageContract):
    """A topic of this process as a sink."""


async def test_objects_pass_through_as_they_are() -> None:
    site = Site(Settings({}))
    source = Memory("objects").source(site)
    await source.open()
    things = [object() for _ in range(2500)]
    Topics.of(site).topic("objects").extend(things)
    taken = await take(source, 2500)
    assert [record.value for record in taken] == things
    await source.close()


async def test_what_one_pipeline_writes_another_reads_with_its_attributes() -> None:
    site = Site(Settings({}))
    sink, source = Memory("decisions").sink(site), Memory("decisions").source(site)
    await source.open()
    await sink.open(lambda messages, error: None)
    receiving = asyncio.ensure_future(take(source, 1))
    sink.send([Message("decisions", b"{}", key=b"k", id="7", source="/p", type="t", time=1.5, headers={"tenant": "b"})])
    [record] = await receiving
    event = record.event
    assert (event.id, event.source, event.type, event.time, event.key) == ("7", "/p", "t", 1.5, "k")
    assert event.headers["tenant"] == "b"
    await sink.close()
    await source.close()
