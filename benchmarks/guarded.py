"""A counter per event that is exact whatever is repeated, against the same counter without the guard.

Measured: events that wait in memory, through a pipeline that counts them by card in a real Redis and ends. Both
contestants are this engine, and both send what one wave asks for as one request:

- *guarded*: `state(int, by="card", update=count)`: the event's position is kept beside the count, so that an event that
  comes again changes nothing and gets what it got.
- *unguarded*: `HINCRBY`, which counts an event as often as it comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.machine import first_core, pin, placement
from benchmarks.measure import Contestant, Figure, Report, ratios, take_turns
from benchmarks.options import Options
from benchmarks.payments import Payment, records
from benchmarks.penstock_side import drain
from penstock import Pipeline
from penstock.connectors import Store
from penstock.connectors.command import Prepared
from penstock.connectors.memory import Memory
from penstock.connectors.store import RedisStore
from penstock.pipeline.run import on_loop
from penstock.stages import state
from penstock.stages.helper import Helper
from tests.servers import Redis

EVENTS = 60_000
GUARDED, UNGUARDED = "guarded", "unguarded"


def count(seen: int | None, payment: Payment) -> int:
    """One more."""
    return (seen or 0) + 1


@dataclass(frozen=True)
class Increment:
    """An enrich helper that counts without asking whether the event was counted before."""

    answer: Any = int
    fields: tuple[str, ...] = ("card",)

    def open(self, store: Store) -> Incrementing:
        """Bound to its store."""
        assert isinstance(store, RedisStore)
        return Incrementing(store)


class Incrementing:
    """`HINCRBY` for each event, those of a wave in one request."""

    def __init__(self, store: RedisStore) -> None:
        self._ask = store.connection.ask
        self._command = Prepared(("HINCRBY",), ("seen", 1))

    def question(self, payload: Any) -> str:
        """Whose counter."""
        return f"unguarded:{payload.card}"

    async def ask(self, question: str) -> int:
        """The count after this event."""
        return (await self.ask_many([question]))[0]

    async def ask_many(self, questions: Sequence[str]) -> list[int]:
        """The counts after these events."""
        return await self._ask(self._command.pack_many(questions), len(questions))


def run(options: Options) -> Report:
    """Both, in turns."""
    report = Report("guarded", "", notes=[placement()])
    values = [record.value for record in records(EVENTS)]
    with Redis() as redis, first_core():
        pin(redis.pid, measured=False)
        variables = {"PENSTOCK_STORE": redis.address, "PENSTOCK_DURABILITY": "memory"}

        def turn(helper: Helper[int]) -> float:
            # Each turn's topic is new in memory while the store is not: its pipeline needs a name of its own.
            pipeline = Pipeline(f"guarded-{len(report.rates)}-{id(helper)}")
            stream = pipeline.source(Memory("payments"), schema=Payment, key="card", id="id")
            stream.enrich(seen=helper).end()
            return on_loop(drain(pipeline, "payments", values, variables=variables)).rate

        contestants = [
            Contestant(GUARDED, lambda: turn(state(int, by="card", update=count))),
            Contestant(UNGUARDED, lambda: turn(Increment())),
        ]
        report.rates = take_turns(contestants, rounds=options.rounds, say=options.say)
    report.figures = [Figure(f"{GUARDED} / {UNGUARDED}", ratios(report.rates, GUARDED, UNGUARDED), 0.7)]
    return report
