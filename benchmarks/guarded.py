"""A counter per event that is exact whatever is repeated, against the same counter without the guard.

Measured: events that wait in memory, through a pipeline that counts them by card in a real Redis and ends. Both
contestants are this engine, and both send what one wave asks for as one request:

- *guarded*: `state(int, by="card", update=count)`: the event's position is kept beside the count, so that an event that
  comes again changes nothing and gets what it got.
- *unguarded*: reads the count, has the same function count, and writes it; exact only while nothing is repeated and
  nobody else writes.
- *in the server*: `HINCRBY`, which counts an event as often as it comes, and can do nothing but count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.machine import first_core, pin, placement
from benchmarks.measure import Contestant, Figure, Report, ratios, take_turns
from benchmarks.options import Options
from benchmarks.payments import Payment, records
from benchmarks.penstock_side import drain
from penstock import Pipeline
from penstock.connectors import Store
from penstock.connectors.memory import Memory
from penstock.connectors.store.command import Prepared, pack
from penstock.connectors.store.redis import RedisStore
from penstock.pipeline.serving.run import on_loop
from penstock.stages import state
from penstock.stages.helper import Asker, Helper
from penstock.stages.packing import packing
from tests.servers import Redis

EVENTS = 60_000
GUARDED, UNGUARDED, SERVER = "guarded", "unguarded", "in the server"


def count(seen: int | None, payment: Payment) -> int:
    """One more."""
    return (seen or 0) + 1


@dataclass(frozen=True)
class Unguarded:
    """An enrich helper that counts without asking whether the event was counted before: as `opens` does it."""

    opens: Callable[[RedisStore], Asker]
    answer: Any = int
    fields: tuple[str, ...] = ("card",)

    def open(self, store: Store) -> Asker:
        """Bound to its store."""
        assert isinstance(store, RedisStore)
        return self.opens(store)


class Incrementing:
    """`HINCRBY` for each event, those of a wave in one request."""

    def __init__(self, store: RedisStore) -> None:
        self._ask = store.connection.ask
        self._command = Prepared(("HINCRBY",), ("seen", 1))

    def question(self, payload: Any) -> Any:
        """Whose counter, and what changes it."""
        return f"unguarded:{payload.card}"

    async def ask(self, question: Any) -> int:
        """The count after this event."""
        found: int = (await self.ask_many([question]))[0]
        return found

    async def ask_many(self, questions: Sequence[Any]) -> list[Any]:
        """The counts after these events."""
        return await self._ask(self._command.pack_many(questions), len(questions))


class Rewriting(Incrementing):
    """`GET`, the function, `SET`: two requests for a wave."""

    def __init__(self, store: RedisStore) -> None:
        super().__init__(store)
        self._store = store
        self._pack, self._unpack = packing(int)

    def question(self, payload: Any) -> Any:
        return f"rewritten:{payload.card}", payload

    async def ask_many(self, questions: Sequence[Any]) -> list[Any]:
        found = await self._store.read([key for key, _ in questions])
        answers, packed = [], []
        for (key, payload), before in zip(questions, found, strict=True):
            after = self._pack(count(None if before is None else self._unpack(before), payload))
            answers.append(self._unpack(after))
            packed.append(pack("SET", key, after))
        await self._ask(b"".join(packed), len(packed))
        return answers


def run(options: Options) -> Report:
    """All three, in turns."""
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
            Contestant(UNGUARDED, lambda: turn(Unguarded(Rewriting))),
            Contestant(SERVER, lambda: turn(Unguarded(Incrementing))),
        ]
        contestants = [each for each in contestants if options.wants(each.name)]
        report.rates = take_turns(contestants, rounds=options.rounds, say=options.say)
    for reference, target in ((UNGUARDED, 0.7), (SERVER, None)):
        if {GUARDED, reference} <= report.rates.keys():
            figure = Figure(f"{GUARDED} / {reference}", ratios(report.rates, GUARDED, reference), target)
            report.figures.append(figure)
    return report
