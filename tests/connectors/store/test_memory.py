"""The store in memory answers as the servers do, on a clock that tests move."""

from __future__ import annotations

import pytest

from penstock.connectors import Store
from penstock.connectors.store.memory import MemoryStore
from tests.connectors.store.contract import StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


async def test_keys_expire_by_the_clock() -> None:
    now = 100.0
    store = MemoryStore(lambda: now)
    await store.write("short", b"1", ttl=5.0)
    await store.write("kept", b"1", ttl=5.0)
    await store.write("kept", b"2")
    now = 104.9
    assert await store.read(["short", "kept"]) == [b"1", b"2"]
    now = 105.0
    assert await store.read(["short", "kept"]) == [None, b"2"]
    assert await store.settle("short", b"1", 5.0) is None
    now = 109.9
    assert await store.settle("short", b"2", 5.0) == b"1"
    now = 110.0
    assert await store.settle("short", b"2", 5.0) is None
    await store.write("short", b"again")
    assert await store.read(["short"]) == [b"again"]


async def test_what_is_read_is_a_copy() -> None:
    store = MemoryStore()
    await store.write_hash("hash", {"a": 1})
    [row] = await store.read_maps(["hash"])
    assert row is not None
    row[b"a"] = b"2"
    assert await store.read_maps(["hash"]) == [{b"a": b"1"}]
