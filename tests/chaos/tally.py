"""The program that is broken: it counts what comes in through four doors, and says for each event what it counted."""

from __future__ import annotations

import os
from collections.abc import Iterator

import msgspec

from penstock import Pipeline
from penstock.connectors import Endpoint, Http, Kafka, Mqtt, Redis
from penstock.stages import state

TOPICS = os.environ.get("TALLY_TOPICS", "")
DOORS = os.environ.get("TALLY_DOORS", "kafka mqtt http redis").split()


class Step(msgspec.Struct, frozen=True):
    """An event of a key that only one door has, and of a shop that all have."""

    id: str
    key: str
    shop: int


class Counted(msgspec.Struct, frozen=True):
    """The how manieth of its key an event was."""

    id: str
    key: str
    count: int


class Sale(msgspec.Struct, frozen=True):
    """One of the two parts of an event, each in a shop."""

    id: str
    shop: int
    count: int = 0


def one_more(count: int | None, step: object) -> int:
    """How many there have been."""
    return (count or 0) + 1


def counted(step: Step, count: int) -> Counted:
    """What is told of an event."""
    return Counted(step.id, step.key, count)


def sales(step: Step) -> Iterator[Sale]:
    """Two parts, in two shops. Raises ValueError for one that there is not."""
    if step.shop < 0:
        raise ValueError(f"there is no shop {step.shop}")
    yield Sale(f"{step.id}.0", step.shop)
    yield Sale(f"{step.id}.1", step.shop + 1)


def sold(sale: Sale, sales: int) -> Sale:
    """What is told of a part."""
    return Sale(sale.id, sale.shop, sales)


ENDPOINTS: dict[str, Endpoint] = {
    "kafka": Kafka(f"{TOPICS}in", start="earliest"),
    "mqtt": Mqtt(f"{TOPICS}in/all"),
    "http": Http("/in"),
    "redis": Redis(f"{TOPICS}in", partitions=2),
}

tally = Pipeline("tally", concurrency=64)
steps = tally.source(*(ENDPOINTS[door] for door in DOORS), schema=Step, key="key", id="id")
known = steps.enrich(count=state(int, by="key", update=one_more, stage="keys"))
known.act(counted, to=Kafka(f"{TOPICS}counted"))
parts = known.transform(sales, stage="parts")
parts.enrich(sales=state(int, by="shop", update=one_more, stage="shops")).act(sold, to=Kafka(f"{TOPICS}sold"))
