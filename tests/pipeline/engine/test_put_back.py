"""A consumer group that somebody puts back: nothing begins before it is said what the state is to be."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from concurrent.futures import Future

import confluent_kafka as ck
import msgspec
import pytest
from msgspec import Struct

from penstock import Pipeline
from penstock.connectors import Kafka, Message, Settings, Site
from penstock.connectors.kafka.note import write
from penstock.connectors.kafka.watermark import Begun, Marked
from penstock.connectors.store.memory import MemoryStore
from penstock.connectors.topics import Topics
from penstock.connectors.watermark import Watermarks
from penstock.errors import ConfigError
from penstock.pipeline.engine.engine import Engine
from penstock.pipeline.serving.reprocess import choose
from penstock.stages import state
from tests.connectors.contract import PATIENCE
from tests.pipeline.doubles import Memory

CARDS = 3


class Sale(Struct, frozen=True):
    id: int
    card: str


def count(seen: int | None, sale: Sale) -> int:
    return (seen or 0) + 1


def tell(sale: Sale, seen: int) -> tuple[int, int]:
    return sale.id, seen


class World:
    """A topic of Kafka, and a pipeline that counts what is in it."""

    def __init__(self, address: str, client: str) -> None:
        self.topic = Kafka(f"put-back-{uuid.uuid4().hex[:12]}", start="earliest")
        self.address = address
        self.settings = Settings({"PENSTOCK_KAFKA": address, "PENSTOCK_KAFKA_CLIENT": client})
        self.store = MemoryStore()
        self.topics = Topics()
        self.sent = 0
        pipeline = Pipeline("counts")
        sales = pipeline.source(self.topic, schema=Sale, key="card")
        sales.enrich(seen=state(int, by="card", update=count)).act(tell, to=Memory("told"))
        self.graph = pipeline.build()

    def site(self) -> Site:
        site = Site(self.settings, pipeline=self.topic.topic)
        site.share("memory", lambda: self.topics)
        return site

    async def put(self, sales: int) -> None:
        site = self.site()
        sink = self.topic.sink(site)
        await sink.open(lambda messages, error: None)
        for number in range(self.sent, self.sent + sales):
            sale = Sale(number, f"c{number % CARDS}")
            sink.send([Message(self.topic.topic, msgspec.json.encode(sale), sale.card.encode())])
        await sink.flush()
        await site.close()
        self.sent += sales

    async def run(self, done: Callable[[], bool] = lambda: False) -> None:
        """A process, until something holds and is confirmed; what ends it before is raised."""
        engine = Engine(self.graph, self.site(), self.store)
        try:
            async with asyncio.timeout(PATIENCE):
                await engine.start()
                running = asyncio.ensure_future(engine.run())
                while not done() and not running.done():
                    await asyncio.sleep(0.01)
                if running.done():
                    running.result()
                running.cancel()
                await asyncio.gather(*[source.confirm() for _, source in engine.sources.values()])
        finally:
            await engine.stop()

    def told(self) -> list[list[int]]:
        return [msgspec.json.decode(entry.value or b"") for entry in self.topics.topic("told").entries()]

    async def counts(self, generation: str = "") -> list[int]:
        keys = [f"penstock:{self.topic.topic}:state{generation}:seen:c{card}" for card in range(CARDS)]
        return [msgspec.msgpack.decode(one[b"="], type=int) if one else 0 for one in await self.store.read_maps(keys)]

    def put_back(self) -> None:
        """As `kafka-consumer-groups --reset-offsets --to-earliest` does, while the group has no member."""
        group = f"{self.topic.topic}.{self.topic.topic}"
        consumer = ck.Consumer({"bootstrap.servers": self.address, "group.id": group})
        partitions = consumer.list_topics(self.topic.topic, timeout=PATIENCE).topics[self.topic.topic].partitions
        consumer.commit(offsets=[ck.TopicPartition(self.topic.topic, one, 0) for one in partitions], asynchronous=False)
        consumer.close()


@pytest.mark.slow
@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
async def test_what_is_read_again_is_counted_as_was_chosen(kafka_address: str, client: str) -> None:
    world = World(kafka_address, client)
    await world.put(30)
    await world.run(lambda: len(world.told()) == 30)
    assert await world.counts() == [10, 10, 10]
    await world.put(3)
    await world.run(lambda: len(world.told()) == 33)
    world.put_back()
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"was put back: partition 0 from \d+ to 0.*\n.*--reprocess=keep-state"):
            await world.run()
    assert len(world.told()) == 33, "nothing has begun"

    await choose(world.graph, world.site(), world.store, "keep-state")
    await world.run(lambda: len(world.told()) == 66)
    assert await world.counts() == [11, 11, 11]
    first = {sale: seen for sale, seen in world.told()[:33]}  # noqa: C416 - the pairs are lists
    assert all(seen in (first[sale], 11) for sale, seen in world.told()[33:]), "as they got it, or as it is now"

    world.put_back()
    with pytest.raises(ConfigError, match="was put back"):
        await world.run()
    await choose(world.graph, world.site(), world.store, "new-state")
    await world.run(lambda: len(world.told()) == 99)
    await choose(world.graph, world.site(), world.store, "new-state")
    await world.put(3)
    await world.run(lambda: len(world.told()) == 102)
    assert (await world.counts(), await world.counts("@1")) == ([11, 11, 11], [12, 12, 12])
    assert sorted(world.told()[66:99]) == sorted(world.told()[:33]), "as it was counted the first time"


async def test_a_process_that_dies_before_its_first_commit_is_no_reason_to_ask() -> None:
    """The watermark is written first, so it may be above a commit: also one that somebody made before the start."""
    watermarks = Watermarks(MemoryStore(), "marks")
    await watermarks.open()
    refused: list[str] = []

    async def begun(offset: int, text: str | None) -> dict[int, tuple[int, str | None]]:
        answer: Future[Begun] = Future()
        marked.begin({0: (offset, text)}, "t", answer, lambda: False)
        found: Begun = await asyncio.wrap_future(answer)
        return dict(found)

    marked = Marked(watermarks, "in", refused.append)
    assert await begun(7, "") == {0: (7, "")}
    assert await marked.keep({0: (20, write("t", 20, ()))}, "t", watermarks.server)
    marked = Marked(watermarks, "in", refused.append)
    assert await begun(7, "") == {0: (7, "")}, "killed before the commit"
    assert await marked.keep({0: (30, write("t", 30, ()))}, "t", watermarks.server)
    await marked.tidy()
    assert await watermarks.read(["t/0"]) == [f"{30:019d} {write('t', 30, ())}7"]
    marked.committed({0: (30, "")})
    await marked.tidy()
    assert await watermarks.read(["t/0"]) == [f"{30:019d} {write('t', 30, ())}"]
    assert await marked.keep({0: (40, write("t", 40, ()))}, "t", watermarks.server)
    marked = Marked(watermarks, "in", refused.append)
    assert await begun(30, write("t", 30, ())) == {0: (30, write("t", 30, ()))}, "our own"
    assert await begun(7, None) == {0: (7, None)}, "a text that cannot be read says nothing"
    assert await begun(50, "") == {0: (50, "")}, "put forward, it is meant"
    assert (await begun(50, write("t", 50, ())))[0][0] == 40, "the store has lost something"
    assert refused == []
    await begun(7, "")
    assert refused == ["in was put back: partition 0 from 40 to 7"]
