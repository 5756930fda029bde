"""A group that was put back, and `penstock run` with what becomes of its state."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import confluent_kafka as ck
import pytest

from tests.pipeline.process import PATIENCE, Running, run

pytestmark = pytest.mark.slow

APP = """
from msgspec import Struct

from penstock import Pipeline
from penstock.connectors import Kafka
from penstock.stages import state


class Sale(Struct, frozen=True):
    id: int
    card: str


def count(seen: int | None, sale: Sale) -> int:
    return (seen or 0) + 1


def tell(sale: Sale, seen: int) -> tuple[int, int]:
    return sale.id, seen


counts = Pipeline("NAME")
sales = counts.source(Kafka("NAME.in", start="earliest"), schema=Sale, key="card")
sales.enrich(seen=state(int, by="card", update=count)).act(tell, to=Kafka("NAME.out"))
"""

CARDS = 3


class World:
    """The program in its folder, its topics, and everything that it has told."""

    def __init__(self, folder: Path, kafka: str, store: str) -> None:
        self.folder, self.kafka = folder, kafka
        self.name = f"put-back-{uuid.uuid4().hex[:12]}"
        self.settings = {"PENSTOCK_KAFKA": kafka, "PENSTOCK_STORE": store}
        (folder / "counts.py").write_text(APP.replace("NAME", self.name))
        self.told: list[tuple[int, int]] = []
        self._reader = ck.Consumer(
            {
                "bootstrap.servers": kafka,
                "group.id": self.name,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
            }
        )

    def put(self, sales: int) -> None:
        producer = ck.Producer({"bootstrap.servers": self.kafka, "allow.auto.create.topics": True})
        for topic in (f"{self.name}.in", f"{self.name}.out"):
            producer.list_topics(topic, timeout=PATIENCE)
        for number in range(sales):
            card = f"c{number % CARDS}"
            producer.produce(f"{self.name}.in", json.dumps({"id": number, "card": card}), card)
        assert producer.flush(PATIENCE) == 0
        self._reader.assign([ck.TopicPartition(f"{self.name}.out", 0, 0)])

    def runs(self, *options: str, until: int) -> list[tuple[int, int]]:
        """Run the program until it has told so many in all, and stop it; what it told this time."""
        before = len(self.told)
        with Running("run", "counts.py", *options, folder=self.folder, settings=self.settings) as program:
            program.until(lambda: self._hear() >= until, f"waiting for {until} actions")
            assert program.stop() == 0, program.text
        return self.told[before:]

    def refused(self) -> str:
        """What the program says that does not start."""
        done = run("run", "counts.py", folder=self.folder, settings=self.settings)
        assert done.returncode == 2, done.stderr
        return done.stderr

    def put_back(self) -> None:
        """As `kafka-consumer-groups --reset-offsets --to-earliest` does, while the group has no member."""
        consumer = ck.Consumer({"bootstrap.servers": self.kafka, "group.id": f"{self.name}.{self.name}.in"})
        consumer.commit(offsets=[ck.TopicPartition(f"{self.name}.in", 0, 0)], asynchronous=False)
        consumer.close()

    def _hear(self) -> int:
        for message in self._reader.consume(1_000, 0.1):
            if message.error() is None:
                sale, seen = json.loads(message.value() or b"")
                self.told.append((sale, seen))
        return len(self.told)

    def close(self) -> None:
        self._reader.close()


@pytest.fixture
def world(tmp_path: Path, kafka_address: str, redis_address: str) -> Iterator[World]:
    world = World(tmp_path, kafka_address, redis_address)
    yield world
    world.close()


def test_a_group_that_was_put_back_begins_as_it_is_told(world: World) -> None:
    world.put(30)
    first = world.runs(until=30)
    assert sorted(seen for _, seen in first) == sorted(list(range(1, 11)) * CARDS)
    world.put_back()
    said = world.refused()
    assert "was put back: partition 0 from 30 to 0" in said
    assert "--reprocess=keep-state" in said and "--reprocess=new-state" in said

    kept = world.runs("--reprocess=keep-state", until=60)
    assert sorted(sale for sale, _ in kept) == list(range(30)), "each acts again"
    assert all(seen in (dict(first)[sale], 10) for sale, seen in kept), "and none is counted again"

    world.put_back()
    assert "was put back" in world.refused()
    assert sorted(world.runs("--reprocess=new-state", until=90)) == sorted(first), "counted as the first time"
