"""Redis streams as topics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from penstock.connectors import template
from penstock.connectors.site import Site
from penstock.errors import DeclarationError

if TYPE_CHECKING:
    from penstock.connectors.redis.sink import RedisSink
    from penstock.connectors.redis.source import RedisSource
    from penstock.connectors.store.connection import Connection


class Redis(msgspec.Struct, frozen=True):
    """A topic kept in Redis streams, one for each partition: `payments:0` to `payments:3`.

    A record's key decides its partition (CRC-32 of its bytes, modulo `partitions`); those without one take turns. A
    record is an entry with the fields `data` and `key` and its headers, CloudEvents attributes as `ce_id` and so on;
    any client may write one: `XADD payments:0 * data '{"amount": 7}' key card-1`. The number of partitions is kept in
    `payments:partitions`, and whoever declares another one is refused.

    As a source: each partition is read by one process at a time, which holds its lease; the processes of a pipeline
    share the partitions evenly, and what a process that died held is taken over when its lease runs out (5 s), on the
    same machine within a second. The
    position of the pipeline's consumer group (`group`, by default the pipeline's name) is the contiguous finished
    prefix; a new group begins at the first entry there is. Only the holder of the lease moves it: one that has lost
    it, say because it was frozen, cannot. What was read and not finished is read again by the next holder.

    As a sink: what one tick acts is one transaction, confirmed together; the order of messages is kept through
    outages. After a lost reply a transaction is sent again, so that its messages may be there twice, with equal ids.

    What every consumer group has finished is removed. A partition is full at 100,000 entries (`PENSTOCK_STREAM_FULL`):
    while a group still has to read them, the producer waits, and says so in `/readyz`; where there is no group at all,
    the oldest make room.

    `on` names the connection: `Redis("t", on="eu")` is at `PENSTOCK_REDIS__EU`, by default `PENSTOCK_REDIS`, or else
    the store's server. It needs Redis 7 or Valkey.

    >>> Redis("payments").address
    'redis:payments'
    """

    stream: str
    on: str = ""
    partitions: int = 4
    group: str | None = None

    def __post_init__(self) -> None:
        if not self.stream:
            raise DeclarationError("redis: a stream has a name")
        if self.partitions < 1:
            raise DeclarationError(f"{self.address}: partitions is {self.partitions}: there is at least one")
        try:
            template.check(self.stream)
        except ValueError as error:
            raise DeclarationError(f"{self.address}: {error}") from None

    @property
    def address(self) -> str:
        """Its one-line name: `redis:payments`."""
        return f"redis:{self.stream}"

    def source(self, site: Site) -> RedisSource:
        """A source that is not open yet. Raises `ConfigError` or `DeclarationError`."""
        from penstock.connectors.redis.source import RedisSource
        from penstock.connectors.store.connection import Connection

        if template.names(self.stream):
            raise DeclarationError(f"{self.address}: a source reads one stream, so its name has no braces")
        url = site.settings.redis(self.on).url
        reader = Connection(url, name=_name(self.on))
        return RedisSource(self.stream, self.partitions, self.group or site.group, _connection(site, self.on), reader)

    def sink(self, site: Site) -> RedisSink:
        """A sink that is not open yet. Raises `ConfigError`."""
        from penstock.connectors.redis.sink import RedisSink

        full = site.settings.process.stream_full
        return RedisSink(self.stream, self.partitions, _connection(site, self.on), full=full)

    async def topics(self, site: Site) -> frozenset[str]:
        """Names of streams at its server, its own among them if it is there. Raises `Unavailable` or `ConfigError`."""
        from penstock.connectors.redis.listing import streams

        return await streams(_connection(site, self.on), self.stream)


def _name(on: str) -> str:
    return f"redis:{on}" if on else "redis"


def _connection(site: Site, on: str) -> Connection:
    """The process's connection for everything that does not block."""
    from penstock.connectors.store.connection import Connection

    def make() -> Connection:
        connection = Connection(site.settings.redis(on).url, name=_name(on))
        site.on_close(connection.close)
        return connection

    return site.share(_name(on), make)
