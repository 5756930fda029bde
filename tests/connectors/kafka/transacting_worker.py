"""A worker that is killed: `python -m tests.connectors.kafka.transacting_worker FROM TO` acts twice on each event."""

from __future__ import annotations

import asyncio
import logging
import random
import sys

import msgspec

from penstock import Pipeline
from penstock.connectors import Kafka, Settings, Site
from penstock.connectors.store.memory import MemoryStore
from penstock.pipeline.engine.engine import Engine

LARGE = 1_000_077
NOISE = random.Random(7).randbytes(350_000).hex()


class Number(msgspec.Struct, frozen=True):
    n: int


async def slowly(number: Number) -> Number:
    """Events end in another order than they came in."""
    await asyncio.sleep(number.n % 7 / 500)
    return number


def one(number: Number) -> str:
    return f"one {number.n}{NOISE if number.n == LARGE else ''}"


def two(number: Number) -> str:
    return f"two {number.n}"


def engine(source: str, sink: str, site: Site) -> Engine:
    pipeline = Pipeline("transacting")
    numbers = pipeline.source(Kafka(source, start="earliest"), schema=Number).transform(slowly)
    numbers.act(one, to=Kafka(sink, transactional=True))
    numbers.act(two, to=Kafka(sink, transactional=True))
    return Engine(pipeline.build(), site, MemoryStore())


async def work(source: str, sink: str) -> None:
    made = engine(source, sink, Site(Settings(), pipeline=f"transacting-{source}"))
    await made.start()
    await made.run()


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(process)d %(message)s")
    asyncio.run(work(sys.argv[1], sys.argv[2]))
