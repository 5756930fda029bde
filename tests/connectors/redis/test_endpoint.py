"""Redis streams as they are declared."""

from __future__ import annotations

import asyncio

import pytest

from penstock.connectors import Settings, Site, Source
from penstock.connectors.redis.endpoint import Redis
from penstock.errors import ConfigError, DeclarationError
from tests.connectors.contract import (
    Ledger,
)
from tests.connectors.redis.rig import StreamRig, opened


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
