"""`through` on real servers: Kafka with both clients, Redis streams, and the streams that stand in for Kafka."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import pytest
from msgspec import Struct

from penstock import Event, Pipeline
from penstock.connectors import Endpoint, Kafka, Redis, Settings, Site
from penstock.connectors.store.memory import MemoryStore
from penstock.connectors.topics import Topics
from penstock.pipeline.engine.engine import Engine
from penstock.pipeline.serving.stand_in import stand_in
from tests.pipeline.doubles import Bench, Memory


class Sale(Struct, frozen=True):
    id: str
    card: str
    shop: str


class Told(Struct, frozen=True):
    id: str
    shop: str
    event: str
    source: str


def told(sale: Sale, event: Event) -> Told:
    return Told(sale.id, sale.shop, event.id, event.source)


@dataclass
class Place:
    """A topic of a real server, and how a process gets there."""

    topic: Kafka | Redis
    settings: Settings
    instead: Callable[[Endpoint], Endpoint]

    def bench(self, topics: Topics, tell: Callable[..., object] = told) -> Bench:
        pipeline = Pipeline("shops")
        sales = pipeline.source(Memory("sales", partitions=2), schema=Sale, key="card", id="id")
        sales.through(self.topic, key="shop").act(tell, to=Memory("told"), stage="told")
        site = Site(self.settings, pipeline=f"shops-{self.topic.address.partition(':')[2]}")
        site.share("memory", lambda: topics)
        return Bench(Engine(pipeline.build(), site, MemoryStore(), endpoint=self.instead), topics, site)


@pytest.fixture(params=["kafka-python", "confluent", "redis", "stand-in"])
def there(request: pytest.FixtureRequest) -> Place:
    name, kind = f"through-{uuid.uuid4().hex[:12]}", str(request.param)
    if kind in ("redis", "stand-in"):
        address = str(request.getfixturevalue("redis_address"))
        settings = Settings({"PENSTOCK_REDIS": address, "PENSTOCK_REDIS__EMBEDDED": address})
        return Place(Redis(name) if kind == "redis" else Kafka(name), settings, stand_in(settings))
    address = str(request.getfixturevalue("kafka_address"))
    settings = Settings({"PENSTOCK_KAFKA": address, "PENSTOCK_KAFKA_CLIENT": kind})
    return Place(Kafka(name), settings, lambda endpoint: endpoint)


async def test_events_come_out_as_what_went_in(there: Place) -> None:
    """Two lives of the process: what went in during the first and did not come out comes out in the second."""
    topics = Topics()
    sold = [Sale(f"s{number}", f"c{number % 13}", f"shop {number % 5}") for number in range(400)]

    def put(sales: list[Sale]) -> None:
        topic = topics.topic("sales", 2)
        for sale in sales:
            topic.put(msgspec.json.encode(sale), key=sale.card.encode())

    async with there.bench(topics) as bench:
        put(sold[:200])
        await bench.until(lambda: len(topics.topic("told")) > 0, 60.0)
    async with there.bench(topics) as bench:
        put(sold[200:])
        await bench.until(lambda: len({one.headers["ce_id"] for one in topics.topic("told").entries()}) == 400, 60.0)

    found: dict[str, list[Told]] = defaultdict(list)
    for entry in topics.topic("told").entries():
        one = msgspec.json.decode(entry.value, type=Told)
        assert entry.headers["ce_id"] == f"{one.id}/told"
        assert (one.event, one.source) == (one.id, "memory:sales")
        if one not in found[one.shop]:
            found[one.shop].append(one)
    for sale in sold:
        number = int(sale.id[1:])
        in_order = [int(one.id[1:]) for one in found[sale.shop] if (int(one.id[1:]) - number) % 65 == 0]
        assert in_order == sorted(in_order), "of one card and one shop"


async def test_a_full_topic_makes_its_near_side_wait_and_not_its_far_side(
    redis_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More actions wait for room than may be unconfirmed: the far side goes on, and so there is room again."""
    monkeypatch.setattr("penstock.pipeline.engine.gate.UNCONFIRMED", 100)
    settings = Settings({"PENSTOCK_REDIS": redis_address, "PENSTOCK_STREAM_FULL": "50"})
    place = Place(Redis(f"through-{uuid.uuid4().hex[:12]}"), settings, lambda endpoint: endpoint)
    topics = Topics()
    sales = [msgspec.json.encode(Sale(f"s{n}", f"c{n}", f"shop {n}")) for n in range(3000)]
    seen_full = asyncio.Event()

    async def tell(sale: Sale, event: Event) -> Told:
        await seen_full.wait()
        return told(sale, event)

    def is_full() -> bool:
        problems = bench.engine.problems()
        return any("is full: " in problem and "entries wait for the group" in problem for problem in problems)

    async with place.bench(topics, tell) as bench:
        # What goes out in one turn of the loop finds room, however much it is; what comes after it does not.
        topics.topic("sales", 2).extend(sales[:1500])
        await bench.until(lambda: is_full() or bench.confirmed("sales") == 1500)
        topics.topic("sales", 2).extend(sales[1500:])
        await bench.until(is_full)
        seen_full.set()
        await bench.until(lambda: len(topics.topic("told")) == 3000)
