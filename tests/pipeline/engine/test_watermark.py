"""A store that loses the last of what it had answered: the sources go back, and every count is exact."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from msgspec import Struct

from penstock import Pipeline
from penstock.connectors import Endpoint, Http, Kafka, Message, Mqtt, Redis, Settings, Site
from penstock.connectors.protocol import Rewindable
from penstock.connectors.store.command import pack
from penstock.connectors.store.connection import Connection
from penstock.connectors.store.memory import MemoryStore
from penstock.connectors.store.redis import RedisStore
from penstock.connectors.topics import Topics
from penstock.connectors.watermark import Watermarks
from penstock.pipeline.engine.engine import Engine
from penstock.stages import state
from tests.connectors.contract import PATIENCE
from tests.pipeline.doubles import Bench, Memory
from tests.servers import Redis as RedisServer

SHOPS = 7


class Sale(Struct, frozen=True):
    id: int
    card: str
    shop: str


def count(seen: int | None, sale: Sale) -> int:
    return (seen or 0) + 1


def tell(sale: Sale, seen: int) -> dict[str, int]:
    return {"id": sale.id, "seen": seen}


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not done():
            await asyncio.sleep(0.01)


class World:
    """A topic on one server, the state on another, which can be made to forget."""

    def __init__(self, topic: Kafka | Redis, settings: dict[str, str], store: RedisServer) -> None:
        self.topic = topic
        self.name = f"counts-{topic.address.partition(':')[2]}"
        self.settings = Settings({**settings, "PENSTOCK_STORE": store.address, "PENSTOCK_DURABILITY": "memory"})
        self.store = store
        self.topics = Topics()
        self.sent = 0

    @asynccontextmanager
    async def process(self) -> AsyncIterator[Engine]:
        pipeline = Pipeline("counts", latency_budget=None)
        sales = pipeline.source(self.topic, schema=Sale, key="card")
        sales.enrich(seen=state(int, by="shop", update=count)).act(tell, to=Memory("told"))
        site = Site(self.settings, pipeline=self.name)
        site.share("memory", lambda: self.topics)
        engine = Engine(pipeline.build(), site, RedisStore(site))
        async with Bench(engine, self.topics, site):
            yield engine

    async def put(self, sales: int) -> None:
        """As many sales more, in the topic."""
        site = Site(self.settings, pipeline="producer")
        sink = self.topic.sink(site)
        failed: list[BaseException] = []
        await sink.open(lambda messages, error: failed.append(error) if error is not None else None)
        for number in range(self.sent, self.sent + sales):
            sale = Sale(number, f"c{number % 31}", f"s{number % SHOPS}")
            sink.send([Message(self.topic.address.partition(":")[2], msgspec.json.encode(sale), sale.card.encode())])
        await sink.flush()
        await sink.close()
        await site.close()
        assert failed == []
        self.sent += sales

    def told(self) -> int:
        """How many sales were told of, each once."""
        log = self.topics.topic("told")
        return len({msgspec.json.decode(entry.value or b"")["id"] for entry in log.entries()})

    async def counted(self, engine: Engine) -> list[int]:
        keys = [f"penstock:{self.name}:state:seen:s{shop}" for shop in range(SHOPS)]
        found = await engine.store.read_hashes(keys, ["="])
        return [msgspec.msgpack.decode(row[0], type=int) if row and row[0] else 0 for row in found]

    def right(self) -> list[int]:
        return [len(range(shop, self.sent, SHOPS)) for shop in range(SHOPS)]

    @property
    def log(self) -> Path:
        [found] = (self.store.folder / "appendonlydir").glob("*.incr.aof")
        return found

    def forget(self, since: int) -> None:
        """Kill the store, and take from it what it has written down since then: the file ends inside a command."""
        self.store.kill()
        assert self.log.stat().st_size > since + 100
        os.truncate(self.log, since + 7)


@pytest.fixture(params=["kafka-python", "confluent", "redis"])
async def world(request: pytest.FixtureRequest, own_redis: RedisServer) -> World:
    name, kind = f"counted-{uuid.uuid4().hex[:12]}", str(request.param)
    if kind != "redis":
        address = str(request.getfixturevalue("kafka_address"))
        settings = {"PENSTOCK_KAFKA": address, "PENSTOCK_KAFKA_CLIENT": kind}
        return World(Kafka(name, start="earliest"), settings, own_redis)
    address = str(request.getfixturevalue("redis_address"))
    other = Connection(address)
    await other.open()
    for number in range(2):  # another group that has not read yet keeps the entries
        await other.ask(pack("XGROUP", "CREATE", f"{name}:{number}", "slow", "0", "MKSTREAM"))
    await other.close()
    return World(Redis(name, partitions=2), {"PENSTOCK_REDIS": address}, own_redis)


@pytest.mark.parametrize("alive", [True, False], ids=["while the process runs", "between two processes"])
async def test_a_store_that_lost_its_last_second(world: World, alive: bool) -> None:
    async with world.process() as engine:
        await world.put(200)
        await until(lambda: world.told() == 200)
        await asyncio.gather(*[source.confirm() for _, source in engine.sources.values()])
        size = world.log.stat().st_size
        await world.put(200)
        await until(lambda: world.told() == 400)
        await asyncio.gather(*[source.confirm() for _, source in engine.sources.values()])
        assert await world.counted(engine) == world.right()
        if alive:
            world.forget(size)
            world.store.start()
            await world.put(50)
            await settled(world, engine)
            return
    world.forget(size)
    world.store.start()
    await world.put(50)
    async with world.process() as engine:
        await settled(world, engine)


async def settled(world: World, engine: Engine) -> None:
    """Every sale is told of and counted, and stays so."""
    await until(lambda: world.told() == world.sent and engine.store.problem is None)
    async with asyncio.timeout(PATIENCE):
        while sum(await world.counted(engine)) < world.sent:
            await asyncio.sleep(0.02)
    await asyncio.gather(*[source.confirm() for _, source in engine.sources.values()])
    assert await world.counted(engine) == world.right()


async def test_a_restart_that_lost_nothing_repeats_nothing(world: World) -> None:
    async with world.process() as engine:
        await world.put(100)
        await until(lambda: world.told() == 100)
        await asyncio.gather(*[source.confirm() for _, source in engine.sources.values()])
    world.store.stop()
    world.store.start()
    async with world.process() as engine:
        await world.put(100)
        await until(lambda: world.told() == 200)
        assert len(world.topics.topic("told")) == 200
        assert await world.counted(engine) == world.right()


async def test_another_server_rewinds_every_source_once() -> None:
    store = MemoryStore()
    watermarks = Watermarks(store, "marks")
    rewound: list[str] = []
    watermarks.watch(lambda: rewound.append("one"))
    watermarks.watch(lambda: rewound.append("other"))
    await watermarks.open()
    first = watermarks.server
    assert await watermarks.keep({"a/0": "7", "b/0": "9 note"}, first)
    assert await watermarks.read(["b/0", "c/0", "a/0"]) == ["9 note", "", "7"]
    store.server = "another"
    assert not await watermarks.keep({"a/0": "8"}, first)
    assert not await watermarks.keep({"b/0": "10"}, first)
    assert rewound == ["one", "other"]
    assert await watermarks.read(["a/0", "b/0"]) == ["7", "9 note"]
    assert await watermarks.keep({"a/0": "8"}, watermarks.server)


@pytest.mark.parametrize(
    ("endpoint", "goes_back"),
    [
        (Kafka("in"), True),
        (Redis("in"), True),
        (Http("/in", durable=True), True),
        (Http("/in"), False),
        (Mqtt("in"), False),
    ],
    ids=str,
)
def test_which_sources_go_back(endpoint: Endpoint, goes_back: bool) -> None:
    address = "redis://127.0.0.1:1/0"
    site = Site(Settings({"PENSTOCK_STORE": address, "PENSTOCK_KAFKA": "127.0.0.1:1", "PENSTOCK_MQTT": "mqtt://h:1"}))
    assert isinstance(endpoint.source(site), Rewindable) is goes_back
