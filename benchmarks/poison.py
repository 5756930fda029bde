"""One event in a hundred is poison: what that does to the speed of the others.

Measured: payments as JSON bytes that wait in memory, to decisions as JSON bytes in memory, until every good payment is
a confirmed decision and every poisoned one a dead letter in a Redis that has it on disk (`appendfsync always`).

- *refused*: a function raises `Reject`, a dead letter at once.
- *tried again*: it raises something else, and is tried three times, 10 ms and 20 ms apart, before it is one.
- *refused late*, against *looked up*: with a lookup in Redis before it, many events at a time.

Rates are of the good events, by this process's own processor time: the waits between two tries are not work.
"""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter, process_time

import msgspec

from benchmarks.measure import Contestant, Figure, Report, ratios, take_turns
from benchmarks.options import Options
from benchmarks.payments import Payment, payments
from benchmarks.penstock_side import PATIENCE, Running
from penstock import Pipeline, Reject, Retries
from penstock.connectors.memory import Memory
from penstock.pipeline.serving.run import on_loop
from penstock.stages.lookup import lookup
from tests.servers import Redis

EVENTS = 100_000
ONE_IN = 100
TARGET = 0.7


class Decision(msgspec.Struct, frozen=True):
    """What is sent on."""

    payment: str
    card: str
    band: str


class Poison(Exception):
    """What a function of a user's raises."""


def refuse(payment: Payment) -> Payment:
    """Poison is known for what it is."""
    if payment.amount < 0:
        raise Reject("the amount is negative")
    return payment


def fail(payment: Payment) -> Payment:
    """Poison is an error like any other."""
    if payment.amount < 0:
        raise Poison("the amount is negative")
    return payment


def decide(payment: Payment) -> Decision:
    """The decision."""
    return Decision(payment.id, payment.card, "large" if payment.amount > 500 else "small")


def run(options: Options) -> Report:
    """The same pipeline over clean and over poisoned payments, in turns."""
    report = Report("poison", "", notes=[f"one payment in {ONE_IN} is poison; {EVENTS:,} payments a turn"])
    # A service writes such lines too, but to a file or a pipe.
    logging.getLogger("penstock").addHandler(logging.NullHandler())
    logging.getLogger("penstock").propagate = False
    clean, poisoned = _values(poison=False), _values(poison=True)
    with Redis({"appendfsync": "always"}) as server:
        contestants = [
            Contestant("clean", lambda: on_loop(_turn(server, clean, "refused"))),
            Contestant("refused", lambda: on_loop(_turn(server, poisoned, "refused"))),
            Contestant("tried again", lambda: on_loop(_turn(server, poisoned, "tried again"))),
            Contestant("looked up", lambda: on_loop(_turn(server, clean, "looked up"))),
            Contestant("refused late", lambda: on_loop(_turn(server, poisoned, "looked up"))),
        ]
        contestants = [each for each in contestants if options.wants(each.name)]
        report.rates = take_turns(contestants, rounds=options.rounds, say=options.say)
    for name, reference in (("refused", "clean"), ("tried again", "clean"), ("refused late", "looked up")):
        if {name, reference} <= report.rates.keys():
            figure = Figure(f"{name} / {reference}", ratios(report.rates, name, reference), TARGET)
            report.figures.append(figure)
    return report


def _values(*, poison: bool) -> list[bytes]:
    encode = msgspec.json.Encoder().encode
    return [
        encode({**payment, "amount": -1.0} if poison and number % ONE_IN == ONE_IN // 2 else payment)
        for number, payment in enumerate(payments(EVENTS))
    ]


def pipeline(shape: str) -> Pipeline:
    """Decode, check, decide, encode."""
    made = Pipeline("poison", retry=Retries(attempts=3, first="10ms", longest="20ms"))
    stream = made.source(Memory("payments"), schema=Payment, key="card", id="id")
    if shape == "looked up":
        stream = stream.enrich(limit=lookup("limit:{card}", float, default=100.0))
    stream.transform(fail if shape == "tried again" else refuse).act(decide, to=Memory("decisions"))
    return made


async def _turn(server: Redis, values: list[bytes], shape: str) -> float:
    async with Running(pipeline(shape), {"PENSTOCK_STORE": server.address}) as running:
        await running.engine.store.delete([running.engine.letters.stream])
        began, limit = process_time(), perf_counter() + PATIENCE
        running.topic("payments").extend(values)
        while any(lane.received < len(values) or lane.in_flight for lane in running.engine.lanes):
            if perf_counter() > limit:
                raise TimeoutError(f"not all of {len(values):,} events finished within {PATIENCE:.0f} s")
            await asyncio.sleep(0.001)
        used = process_time() - began
        good, dead = len(running.topic("decisions")), running.engine.letters.written
        if good + dead != len(values) or dead not in (0, len(values) // ONE_IN):
            raise RuntimeError(f"{len(values):,} payments came to {good:,} decisions and {dead:,} dead letters")
        return good / used
