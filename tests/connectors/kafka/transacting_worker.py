"""A worker to be killed and frozen: `python -m tests.connectors.kafka.transacting_worker FROM TO [STEP]`.

Before its first transaction comes to STEP, it freezes as `kill -STOP` has it. Where STEP is "revoked", it dies when it
gives partitions up.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import msgspec

from penstock import Pipeline
from penstock.connectors import Kafka, Settings, Site
from penstock.connectors.kafka.source import KafkaSource
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


def freeze(transactor: Any, step: str) -> None:
    """Have the process freeze before the next time that a transaction comes to a step."""
    method = getattr(transactor, step)

    def frozen(*arguments: Any) -> None:
        setattr(transactor, step, method)
        os.kill(os.getpid(), signal.SIGSTOP)
        method(*arguments)

    setattr(transactor, step, frozen)


def die(_: KafkaSource, partitions: Sequence[int]) -> NoReturn:
    """The last word of a process that is killed when partitions leave it."""
    print(f"dies with {sorted(partitions)} leaving", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit


async def work(source: str, sink: str, step: str = "") -> None:
    site = Site(Settings(), pipeline=f"transacting-{source}")
    made = engine(source, sink, site)
    await made.start()
    if step == "revoked":
        KafkaSource.revoked = die  # type: ignore[assignment,method-assign]
    elif step:
        freeze(transactions(site)._transactor, step)
    await made.run()


def transactions(site: Site) -> Any:
    """What the sinks of a process share."""
    return next(value for name, value in site._shared.items() if name.startswith("kafka-transactions"))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(message)s")
    logging.getLogger("kafka").setLevel(logging.WARNING)
    asyncio.run(work(*sys.argv[1:]))
