"""Streams that stand in for Kafka and MQTT topics."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence

import pytest

from penstock.connectors import Batch, Endpoint, Kafka, Message, Mqtt, Settings, Site
from penstock.pipeline.serving.stand_in import stand_in
from tests.connectors.contract import PATIENCE


@pytest.fixture
async def site(redis_address: str) -> AsyncIterator[Site]:
    made = Site(Settings({"PENSTOCK_REDIS__EMBEDDED": redis_address}), pipeline=f"stand-{uuid.uuid4().hex[:8]}")
    yield made
    await made.close()


async def send(site: Site, endpoint: Endpoint, *values: bytes) -> None:
    sink = stand_in(site.settings)(endpoint).sink(site)
    await sink.open(lambda messages, error: None)
    to = endpoint.address.partition(":")[2]
    sink.send([Message(to, value, key=b"k", id=value.decode(), source="/s", type="t") for value in values])
    await sink.flush()
    await sink.close()


async def first(site: Site, endpoint: Endpoint) -> bytes:
    """The first value that arrives."""
    source = stand_in(site.settings)(endpoint).source(site)
    await source.open()
    async with asyncio.timeout(PATIENCE):
        batches: Sequence[Batch] = await source.receive()
    await source.close()
    return bytes(batches[0].values[0])


@pytest.mark.parametrize("kind", [Kafka, Mqtt])
async def test_a_topic_on_another_connection_is_another_topic(site: Site, kind: type[Kafka] | type[Mqtt]) -> None:
    name = f"orders-{uuid.uuid4().hex[:8]}"
    await send(site, kind(name), b"here")
    await send(site, kind(name, on="eu"), b"there")
    assert await first(site, kind(name, on="eu")) == b"there"
    assert await first(site, kind(name)) == b"here"


async def test_a_topic_may_be_called_like_the_stream(site: Site) -> None:
    await send(site, Mqtt("mqtt"), b"named so")
    assert await first(site, Mqtt("mqtt")) == b"named so"
