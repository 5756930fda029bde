"""Malformed input of every kind, through the readers of every technology: each event has one outcome, exactly.

`FUZZ` is how many events (20,000 by default), `FUZZ_SEED` the number that they follow from, 0 for any.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from random import Random

import msgspec
import pytest

from penstock import Action, Event, Pipeline, Reject, Retries
from penstock.connectors import Batch, Message, Refusal, Settings, Settled, Site
from penstock.connectors.cloudevents.modes import write
from penstock.connectors.kafka.record import headers, stamp
from penstock.connectors.redis.entry import fields
from penstock.connectors.store.memory import MemoryStore
from penstock.pipeline.engine.engine import Engine
from penstock.stages import lookup
from tests.chaos.doors import Fed, Opened, Subscription, http, kafka, redis
from tests.chaos.mutations import Mutations

pytestmark = pytest.mark.slow
log = logging.getLogger("chaos")

EVENTS = int(os.environ.get("FUZZ", "20000"))
SEED = int(os.environ.get("FUZZ_SEED", "1")) or Random().getrandbits(32)
FORMS = ("loop", "wave", "slot")
EACH = min(20_000, EVENTS // len(FORMS))
"""Events of one bout: the store keeps every letter, and takes no more than 100,000."""

ROUND = 100
"""Records handed over to each door at a time."""


class Payment(msgspec.Struct, frozen=True):
    id: str
    card: str
    amount: float
    currency: str = "EUR"
    note: str = ""
    terminal: str = ""
    at: float | None = None


def in_euros(payment: Payment) -> Payment:
    if payment.currency != "EUR":
        raise Reject(f"no rate for {payment.currency}")
    return payment


def of_worth(payment: Payment) -> bool:
    return payment.amount != 0


async def later(payment: Payment) -> Payment:
    await asyncio.sleep(0)
    return payment


def decide(payment: Payment, event: Event) -> Action[Payment]:
    if payment.amount < 0:
        raise ValueError(payment.note)
    return Action(payment, key=payment.card, headers={"why": event.id, "note": payment.note}, subject=payment.note)


class Written:
    """A sink that writes as the real ones do, and confirms."""

    problem: str | None = None
    ordered = True

    def __init__(self) -> None:
        self.count = 0
        self._settled: Settled | None = None

    async def open(self, settled: Settled) -> None:
        self._settled = settled

    def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            fields(message)
            assert len(headers(message)) >= 5 and 0 < stamp(message, 2e9) <= 2e12
            assert all(len(write(message, prefix)) >= 4 for prefix in ("ce_", "ce-", ""))
        self.count += len(messages)
        assert self._settled is not None
        asyncio.get_running_loop().call_soon(self._settled, list(messages), None)

    async def flush(self) -> None:
        """Nothing waits."""

    async def close(self) -> None:
        """Nothing to leave."""


@pytest.mark.timeout(600 + EACH // 20)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bout", range(-(-EVENTS // (len(FORMS) * EACH))))
async def test_whatever_comes_in_has_one_outcome(bout: int, form: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("ERROR", "penstock")
    caplog.set_level("INFO", "chaos")
    seed = SEED + FORMS.index(form) + len(FORMS) * bout
    supply, sink = Mutations(seed), Written()
    doors, subscription = {name: Fed() for name in ("kafka", "redis", "http")}, Subscription()
    every: list[Fed | Subscription] = [*doors.values(), subscription]
    made = Pipeline("fuzz", retry=Retries(1))
    sources = [Opened(f"{name}:payments", door) for name, door in doors.items()]
    stream = made.source(
        *sources, Opened("mqtt:terminals/{terminal}/payments", subscription), schema=Payment, key="card", id="id"
    ).transform(in_euros)
    if form == "wave":
        stream = stream.enrich(known=lookup("card:{card}", str, default=""))
    elif form == "slot":
        stream = stream.transform(later)
    stream.filter(of_worth).act(decide, to=Opened("written:out", sink))
    engine = Engine(made.build(), Site(Settings({}), pipeline="fuzz"), MemoryStore())
    await engine.start()
    assert engine.lanes[0].program.form == form
    given = refused = 0
    while given < EACH:
        doors["kafka"].give(kafka(supply, ROUND))
        doors["redis"].give(redis(supply, ROUND))
        subscription.feed(supply, ROUND)
        doors["http"].give(http(supply, ROUND))
        batches = [batch for door in every for batch in door.batches]
        await _finished(batches, engine, f"form {form}, seed {seed}, round after {given} events")
        given += sum(map(len, batches))
        refused += sum(
            isinstance(one, Refusal) and not one.letter for batch in batches for one in batch.answers.values()
        )
        for door in every:
            door.batches.clear()
    found = engine.statistics()
    dead = sum(found["dead_letters"].values())
    filtered = sum(found["filtered"].values())
    await engine.stop()
    ends = f"{sink.count} acted, {filtered} filtered, {refused} refused, {dead} dead"
    told = f"form {form}, seed {seed}: {given} in, {ends}"
    assert sum(found["events"].values()) == given, told
    assert given == sink.count + filtered + refused + dead, told
    assert min(sink.count, filtered, refused, dead) > given // 50, told
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR], told
    log.info(told)


async def _finished(batches: Sequence[Batch], engine: Engine, told: str) -> None:
    """Wait until each record of these owes nothing."""
    try:
        async with asyncio.timeout(180):
            while any(batch.left for batch in batches):
                await asyncio.sleep(0)
    except TimeoutError:
        first = next(batch for batch in batches if batch.left)
        value = first.values[first.owed.index(1)]
        raise AssertionError(f"{told}: {value!r} of {first!r} never ended, {engine.problems()}") from None
