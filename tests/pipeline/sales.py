"""Sales that go by card and then, through a topic, by shop: for tests of what is on both sides of a `through`."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from penstock import Event, Pipeline
from tests.pipeline.doubles import Memory

MIDDLE = Memory("by-owner", partitions=3)


class Sale(Struct, frozen=True):
    id: str
    card: str
    shop: str
    at: float = 0.0


class Seen(Struct, frozen=True):
    """What a function past the through was told of its event."""

    sale: str
    event: str
    source: str
    key: str
    time: float
    trace: str


def seen(sale: Sale, event: Event) -> Seen:
    return Seen(sale.id, event.id, event.source, event.key, event.time, event.headers.get("traceparent", ""))


def shops(**options: Any) -> tuple[Pipeline, Any]:
    pipeline = Pipeline("shops", **options)
    return pipeline, pipeline.source(Memory("sales"), schema=Sale, key="card", id="id", time="at")


def counted(so_far: int | None, sale: Sale) -> int:
    return (so_far or 0) + 1
