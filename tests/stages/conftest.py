"""What tests of stages are given."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from penstock.connectors import Settings, Site, Store
from penstock.connectors.store.memory import MemoryStore
from penstock.connectors.store.redis import RedisStore


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """The store in memory, and that of a server."""
    if request.param == "memory":
        yield MemoryStore()
        return
    store = RedisStore(Site(Settings({"PENSTOCK_STORE": request.getfixturevalue("redis_address")})))
    await store.open()
    yield store
    await store.close()
