"""Membership of a consumer group: who is there, who holds which partition, and whose turn it is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeAlias

from penstock.connectors import holder
from penstock.connectors.batch import Partition
from penstock.connectors.redis import scripts as scripts
from penstock.connectors.redis.entry import StreamBatch, stream_key
from penstock.connectors.redis.partition import Holding
from penstock.connectors.store.command import pack
from penstock.connectors.store.connection import Connection
from penstock.connectors.store.reply import ReplyError
from penstock.errors import ConfigError

Due: TypeAlias = tuple[Holding, bytes, int]
"""A partition, the position to confirm in it, and how many entries lie up to there."""

LEASE = 5.0
"""Seconds that a partition stays with a process that no longer answers."""


class Group:
    """One process's part in a consumer group of a stream. Every call may raise `Unavailable`."""

    def __init__(
        self, connection: Connection, stream: str, partitions: int, name: str, make: type[StreamBatch]
    ) -> None:
        self.make = make
        self.connection = connection
        self.stream = stream
        self.partitions = partitions
        self.name = name
        self.me = holder.name()
        self._members = scripts.members_key(stream, name)
        self._keys = [scripts.keys(stream_key(stream, number), name) for number in range(partitions)]
        self._lease = round(LEASE * 1000)

    async def found(self) -> None:
        """Have the streams and the group. From now on nothing is removed that the group has not finished."""
        await check_partitions(self.connection, self.stream, self.partitions)
        for keys in self._keys:
            try:
                await self.connection.ask(scripts.run(f"{scripts.FOUND}return 1", keys, self.name), again=True)
            except ReplyError as error:
                raise ConfigError(f"redis:{self.stream}: {keys[0]} cannot be read as a stream ({error})") from None

    async def beat(self, held: Collection[Holding]) -> tuple[list[bytes], list[Holding]]:
        """Say that this process lives and renew its leases: the names of all members, and the leases that are lost."""
        packed = scripts.run(scripts.JOIN, (self._members,), self.me, self._lease)
        for holding in held:
            keys = self._keys[holding.partition.number]
            packed += scripts.run(scripts.RENEW, keys, self.name, holding.lease, self._lease)
        members, *lags = await self.connection.ask(packed, 1 + len(held), again=True)
        for holding, lag in zip(held, lags, strict=True):
            holding.lag = max(lag or 0, 0)
        dead = [member for member in members if holder.gone(member.decode("utf-8", "replace"))]
        if dead:
            await self._evict(dead)
        living = sorted(member for member in members if member not in dead)
        return living, [holding for holding, lag in zip(held, lags, strict=True) if lag is None]

    async def _evict(self, dead: Collection[bytes]) -> None:
        """Have processes of this machine that have ended hold nothing: their leases need not be waited for."""
        packed = b"".join(scripts.run(scripts.EVICT, keys[1:2], *dead) for keys in self._keys)
        await self.connection.ask(pack("ZREM", self._members, *dead) + packed, 1 + len(self._keys), again=True)

    async def acquire(self, number: int) -> Holding | None:
        """Take a partition, unless another process holds it."""
        keys = self._keys[number]
        [taken] = await self.connection.ask(scripts.run(scripts.ACQUIRE, keys, self.name, self.me, self._lease))
        if taken is None:
            return None
        lease, position, count = taken
        # Streams of one name may be at several connections.
        identity = f"{self.connection.name}:{self.stream}"
        return Holding(Partition(self.stream, number, identity), keys[0], lease, position, int(count), self.make)

    async def confirm(self, due: Sequence[Due]) -> None:
        """Move the group's position in these partitions."""
        if not due:
            return
        packed = b"".join(
            scripts.run(
                scripts.CONFIRM, self._keys[holding.partition.number], self.name, holding.lease, position, passed
            )
            for holding, position, passed in due
        )
        moved = await self.connection.ask(packed, len(due), again=True)
        for (holding, position, _), done in zip(due, moved, strict=True):
            if done:
                holding.confirmed = position

    async def release(self, held: Collection[Holding]) -> None:
        """Give partitions back, for others to take."""
        if held:
            packed = b"".join(
                scripts.run(scripts.RELEASE, self._keys[holding.partition.number], self.name, holding.lease)
                for holding in held
            )
            await self.connection.ask(packed, len(held), again=True)

    async def leave(self) -> None:
        """Be a member no longer."""
        await self.connection.ask(pack("ZREM", self._members, self.me), again=True)

    def share(self, members: list[bytes]) -> int:
        """How many partitions are this process's part, when all members are served alike."""
        rank = members.index(self.me.encode())
        return self.partitions // len(members) + (rank < self.partitions % len(members))

    def turn(self, members: list[bytes]) -> list[int]:
        """All partitions, those first that no other member would try first."""
        rank, count = members.index(self.me.encode()), len(members)
        return sorted(range(self.partitions), key=lambda number: ((number - rank) % count, number))


async def check_partitions(connection: Connection, stream: str, partitions: int) -> None:
    """Keep the number of partitions where all can see it. Raises `ConfigError` where it is another one.

    A producer with another number would write where nobody reads.
    """
    key = f"{stream}:partitions"
    replies: list[Any] = await connection.ask(pack("SET", key, partitions, "NX") + pack("GET", key), 2, again=True)
    if int(replies[1]) != partitions:
        raise ConfigError(
            f"redis:{stream} has {int(replies[1])} partitions and is declared with {partitions}: "
            f"write partitions={int(replies[1])}, or use another name"
        )


def due(held: Iterable[Holding]) -> list[Due]:
    """What of these partitions is finished and not confirmed."""
    return [(holding, position, holding.passed()) for holding in held if (position := holding.due()) is not None]
