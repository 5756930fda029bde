"""Streams at the Redis that tests share, and at one that can be taken away."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.connectors.redis.rig import OwnStreamRig, StreamRig, own
from tests.servers import Redis as RedisServer


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
