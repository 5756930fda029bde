"""Following a stream from outside: no group, no lease, nothing confirmed, nothing held up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.connectors.batch import Batch, Partition
from penstock.connectors.redis.entry import StreamBatch, stream_key
from penstock.connectors.site import Site
from penstock.connectors.store.command import pack
from penstock.connectors.store.connection import Connection

if TYPE_CHECKING:
    from penstock.connectors.redis.endpoint import Redis

AT_ONCE = 512
BLOCK = 1000
"""Milliseconds that one read waits for something new."""


class StreamTail:
    """A source that shows the entries of a stream as they arrive, to whoever looks.

    It begins with the next entry, or with the oldest one there is (`earliest`). What all groups have finished is
    removed from a stream, so that is not to be seen there.
    """

    def __init__(self, endpoint: Redis, site: Site, *, earliest: bool = False) -> None:
        self.endpoint = endpoint
        self.earliest = earliest
        self._connection = Connection(site.settings.redis(endpoint.on).url, name="redis")
        self._read: dict[str, bytes] = {}
        self._partitions: dict[str, Partition] = {}
        self._stopped = False

    @property
    def problem(self) -> str | None:
        return self._connection.problem

    async def open(self) -> None:
        """Connect. Raises `Unavailable` where the server does not answer."""
        await self._connection.open()
        stream = self.endpoint.stream
        [declared] = await self._connection.ask(pack("GET", f"{stream}:partitions"), again=True)
        for number in range(int(declared or self.endpoint.partitions)):
            key = stream_key(stream, number)
            self._partitions[key] = Partition(stream, number)
            self._read[key] = b"0-0" if self.earliest else await self._last(key)

    async def receive(self) -> Sequence[Batch]:
        """Wait for entries; an empty list once `stop` was called."""
        loop = asyncio.get_running_loop()
        while not self._stopped:
            command = pack("XREAD", "COUNT", AT_ONCE, "BLOCK", BLOCK, "STREAMS", *self._read, *self._read.values())
            [found] = await self._connection.ask(command, again=True)
            batches: list[Batch] = []
            for key, entries in (found or {}).items():
                name = key.decode()
                self._read[name] = entries[-1][0]
                batches.append(StreamBatch(self._partitions[name], [(id, flat) for id, flat in entries], loop.time()))
            if batches:
                return batches
        return []

    def stop(self) -> None:
        """Look at nothing new; a pending `receive` returns within a second."""
        self._stopped = True

    async def confirm(self) -> None:
        """There is nothing to confirm."""

    async def close(self) -> None:
        """Leave. Safe to call twice."""
        self._stopped = True
        await self._connection.close()

    def lag(self) -> int | None:
        """Not known."""
        return None

    async def _last(self, key: str) -> bytes:
        """The id of the newest entry."""
        [found] = await self._connection.ask(pack("XREVRANGE", key, "+", "-", "COUNT", 1), again=True)
        return bytes(found[0][0]) if found else b"0-0"
