"""Payments to decisions, with one card for which nothing succeeds for a while: what `parked` measures.

From the first payment of that card whose number is `BENCH_FROM` or higher, the stage fails on all of its payments for
`BENCH_SECONDS`. It serves until a signal, and says `ready` when it is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import msgspec

from benchmarks.payments import Payment
from benchmarks.penstock_side import service
from penstock import Pipeline, Retries
from penstock.connectors import Kafka
from penstock.pipeline.serving.run import on_loop

HOT = "the hot card"


class Decision(msgspec.Struct, frozen=True):
    """What is sent on."""

    payment: str
    card: str


class Failing(Exception):
    """What whoever is asked about the hot card answers."""


def asked(first: int, seconds: float) -> Callable[[Payment], Payment]:
    """A stage that fails on the hot card, for so long from that payment on."""
    until = 0.0

    def ask(payment: Payment) -> Payment:
        nonlocal until
        if payment.card == HOT and int(payment.id) >= first:
            now = time.monotonic()
            until = until or now + seconds
            if now < until:
                raise Failing("not now")
        return payment

    return ask


def decide(payment: Payment) -> Decision:
    """The decision."""
    return Decision(payment.id, payment.card)


def main() -> None:
    """Run until a signal comes."""
    made = Pipeline("parked", retry=Retries(attempts=1_000_000, first="100ms", longest="1s"))
    source = Kafka(os.environ["BENCH_TOPIC"], group=os.environ["BENCH_GROUP"], start="earliest")
    ask = asked(int(os.environ["BENCH_FROM"]), float(os.environ["BENCH_SECONDS"]))
    paid = made.source(source, schema=Payment, key="card", id="id").transform(ask)
    paid.act(decide, to=Kafka(os.environ["BENCH_OUT"]))
    on_loop(service(made, os.environ, lambda: print("ready", flush=True)))


if __name__ == "__main__":
    main()
