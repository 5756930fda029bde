"""The store on real servers, and what becomes of it when they are killed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from penstock.connectors import Settings, Site, Store
from penstock.connectors.store.command import pack
from penstock.connectors.store.redis import RedisStore
from penstock.errors import ConfigError, Unavailable
from tests.connectors.contract import PATIENCE, until
from tests.connectors.store.contract import StoreContract
from tests.servers import Redis, Valkey


def at(address: str) -> RedisStore:
    return RedisStore(Site(Settings({"PENSTOCK_STORE": address})))


class TestRedis(StoreContract):
    @pytest.fixture
    async def store(self, redis_address: str) -> AsyncIterator[Store]:
        store = at(redis_address)
        await store.open()
        yield store
        await store.close()


class TestValkey(StoreContract):
    @pytest.fixture
    async def store(self, valkey_address: str) -> AsyncIterator[Store]:
        store = at(valkey_address)
        await store.open()
        yield store
        await store.close()


async def test_keys_expire_on_the_server(redis_address: str) -> None:
    store = at(redis_address)
    await store.open()
    await store.write("expires", b"1", ttl=60.0)
    [left] = await store.connection.ask(pack("PTTL", "expires"))
    assert 0 < left <= 60_000
    await store.write("expires", b"1")
    assert await store.connection.ask(pack("PTTL", "expires")) == [-1]
    await store.write("expires", b"1", ttl=0.0001)

    async def gone() -> bool:
        return await store.read(["expires"]) == [None]

    await until(gone)
    assert await store.settle("expires", b"1", 60.0) is None
    assert await store.settle("expires", b"2", 1000.0) == b"1"
    [left] = await store.connection.ask(pack("PTTL", "expires"))
    assert 0 < left <= 60_000, "what is there keeps its time"
    await store.close()


@pytest.mark.parametrize("kind", [Redis, Valkey])
async def test_it_tells_how_safe_its_answers_are(kind: type[Redis]) -> None:
    with kind({"appendfsync": "always"}) as server:
        store = at(server.address)
        await store.open()
        assert await store.durability() == ("disk", "appendfsync always")
        await store.connection.ask(pack("CONFIG", "SET", "appendfsync", "everysec"))
        assert await store.durability() == ("second", "appendfsync everysec")
        await store.connection.ask(pack("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru"))
        assert await store.durability() == ("memory", "maxmemory-policy allkeys-lru")
        await store.connection.ask(pack("CONFIG", "SET", "maxmemory", "0"))
        await store.connection.ask(pack("CONFIG", "SET", "appendonly", "no"))
        assert await store.durability() == ("memory", "appendonly no")
        await store.connection.ask(pack("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all", "-config"))
        own = at(server.address.replace("redis://", "redis://app:secret@"))
        await own.open()
        found = await own.durability()
        assert (found.level, "NOPERM" in found.said) == ("unknown", True)
        await own.close()
        await store.close()


def test_without_an_address_it_says_which_setting_is_missing() -> None:
    with pytest.raises(ConfigError, match="PENSTOCK_STORE is not set"):
        RedisStore(Site(Settings({})))


async def test_a_server_killed_under_load_loses_no_write_that_was_answered() -> None:
    """Writes flow while the server dies and returns: each is answered or fails, and what was answered is there."""
    with Redis({"appendfsync": "always"}) as server:
        store = at(server.address)
        await store.open()
        answered: dict[str, bytes] = {}
        failed = 0
        stopped = asyncio.Event()

        async def write(worker: int) -> None:
            nonlocal failed
            number = 0
            while not stopped.is_set():
                key, value, number = f"load:{worker}:{number}", b"%d" % number, number + 1
                try:
                    await store.write(key, value)
                    await store.append("load", {"key": key.encode()}, id=key)
                except Unavailable:
                    failed += 1
                    await asyncio.sleep(0.01)
                else:
                    answered[key] = value

        workers = [asyncio.create_task(write(worker)) for worker in range(20)]
        for _ in range(2):
            known = len(answered)
            await until(lambda known=known: len(answered) > known + 100)
            server.kill()
            await until(lambda: store.problem is not None)
            server.start()
            await until(lambda: store.problem is None)
        known = len(answered)
        await until(lambda: len(answered) > known + 100)
        stopped.set()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*workers)
        keys = list(answered)
        assert await store.read(keys) == [answered[key] for key in keys]
        logged = [entry["key"].decode() for _, entry in await store.entries("load", count=1_000_000)]
        assert len(logged) == len(set(logged)), "an id is there once"
        assert set(logged) >= set(keys)
        await store.close()


async def test_an_append_that_cannot_be_repeated_says_that_its_outcome_is_unknown(own_redis: Redis) -> None:
    store = at(own_redis.address)
    await store.open()
    await store.write("a", b"1")
    own_redis.pause()
    append = asyncio.ensure_future(store.append("log", {"n": b"1"}))
    await until(lambda: store.statistics().in_flight == 1)
    own_redis.kill()
    with pytest.raises(Unavailable, match="outcome unknown"):
        await append
    await store.close()
