"""A stream for one test, and a connection that looks into it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any
from uuid import uuid4

from penstock.connectors import Settings, Site
from penstock.connectors.redis.endpoint import Redis
from penstock.connectors.redis.source import RedisSource
from penstock.connectors.store.command import pack
from penstock.connectors.store.connection import Connection
from penstock.errors import Unavailable
from tests.connectors.contract import (
    Record,
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


async def own(server: RedisServer) -> None:
    """Have the server lose nothing that it answered."""
    server.settings = {**server.settings, "appendfsync": "always"}
    server.stop()
    server.start()


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
