"""Latency at half of the measured capacity: added by the engine, and from Kafka topic to Kafka topic.

Measured, for `decide`, with an open load: an event counts from the moment at which it is due, so that a stall shows in
all that was due meanwhile. First the capacity, by a turn at full speed; then as many turns at half of it as there are
rounds; the figure is the median of their 99th percentiles.

- engine: events put into a memory topic every millisecond, to decisions in a memory topic, Redis and the model
  included; beside it the hand-written loop (b) of `decide` at the same rate. The figure is the difference of the two,
  round by round: what the engine adds to the work.
- topic to topic: the pipeline as `penstock run` serves it; the generator produces and reads the decisions in a process
  of its own, its time on the way included. Beside it, at the same rate, the loop by hand of `kafka-to-kafka`, and the
  broker alone: the generator reads what it sent, which is what generator and broker take of the figure. A turn that
  does not count comes first, for a broker that has just started runs its code uncompiled.
"""

from __future__ import annotations

import asyncio
import json
from array import array
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

from benchmarks import decision, topics
from benchmarks.child import Failed, Program
from benchmarks.kafka_to_kafka import LOOPS
from benchmarks.machine import first_core, placement
from benchmarks.measure import Contestant, Figure, Report, percentile, take_turns
from benchmarks.options import Client, Options
from benchmarks.payments import records
from benchmarks.penstock_side import Running, drain
from benchmarks.references import decide_ticks
from penstock.connectors.memory import Memory
from penstock.pipeline.serving.run import on_loop

SECONDS = 5.0
WARM = 1.0
"""Seconds at the start of a turn that do not count."""

EVENTS = 40_000
TOPIC_EVENTS = 400_000


def run(options: Options) -> Report:
    """The engine alone, then topic to topic with each client."""
    report = Report("latency", "", unit="ms, 99th percentile", notes=[placement()])
    seconds = options.seconds or SECONDS
    with decision.environment() as variables:
        if options.wants("engine"):
            _engine(report, variables, seconds, options)
        for client in options.clients:
            if options.wants(f"topic to topic, {client}"):
                _topics(report, variables, client, seconds, options)
    return report


def _engine(report: Report, variables: dict[str, str], seconds: float, options: Options) -> None:
    values = [record.value for record in records(EVENTS)]
    redis, model = variables["PENSTOCK_STORE"], decision.content(variables["PENSTOCK_MODELS"])
    with first_core():
        rate = 0.0
        for _ in range(2):
            made = decision.pipeline("capacity", Memory("payments"), Memory("decisions"))
            rate = on_loop(drain(made, "payments", values, sink="decisions", variables=variables)).rate / 2
        report.notes.append(f"engine: {rate:,.0f} events/s, half of its capacity")
        contestants = [
            Contestant("engine", lambda: on_loop(_paced(variables, rate, seconds))),
            Contestant("engine's work by hand", lambda: on_loop(_paced_by_hand(redis, model, rate, seconds))),
        ]
        report.rates |= take_turns(contestants, rounds=options.rounds, warm=False, say=options.say)
    engine, by_hand = report.rates["engine"], report.rates["engine's work by hand"]
    added = tuple(ours - theirs for ours, theirs in zip(engine, by_hand, strict=True))
    report.figures.append(Figure("added by the engine, p99", added, 5.0, at_most=True, unit="ms"))


class _Load:
    """Payments that become due at a steady rate, and when each was answered."""

    def __init__(self, rate: float, seconds: float) -> None:
        self.rate = rate
        self.values = [record.value for record in records(int(rate * seconds))]
        self.answered = array("d", bytes(8 * len(self.values)))
        self.began = 0.0
        self.sent = 0

    def due(self) -> Sequence[bytes]:
        """What has become due since the last call."""
        start, self.sent = self.sent, min(len(self.values), int((perf_counter() - self.began) * self.rate))
        return self.values[start : self.sent]

    def answer(self, decision: bytes) -> None:
        """Note that a decision is there: it begins with the payment's number."""
        self.answered[int(decision[18:27])] = perf_counter()

    def latency(self) -> float:
        """The 99th percentile in milliseconds. Raises `Failed` where answers are missing."""
        late = [1000 * (at - self.began - number / self.rate) for number, at in enumerate(self.answered)]
        if not all(self.answered):
            raise Failed(f"{self.answered.count(0.0):,} of {len(late):,} events were not answered")
        return percentile(late[int(WARM * self.rate) :], 0.99)


async def _paced(variables: dict[str, str], rate: float, seconds: float) -> float:
    load = _Load(rate, seconds)
    made = decision.pipeline("latency", Memory("payments"), Memory("decisions"))
    async with Running(made, variables) as running:
        source, sink = running.topic("payments"), running.topic("decisions")
        read = 0

        def answered() -> None:
            nonlocal read
            new = sink.logs[0].values[read:]
            read += len(new)
            # A topic in memory keeps all messages, for the garbage collector to walk; a broker has them elsewhere.
            sink.logs[0].extras.clear()
            for each in new:
                load.answer(each)

        sink.readers.add(answered)
        load.began = perf_counter()
        while load.sent < len(load.values):
            due = load.due()
            if due:
                source.extend(due)
            await asyncio.sleep(0.001)
        await running.finished(len(load.values))
    return load.latency()


async def _paced_by_hand(redis: str, model: bytes, rate: float, seconds: float) -> float:
    load = _Load(rate, seconds)
    events: asyncio.Queue[bytes] = asyncio.Queue()

    async def pace() -> None:
        while load.sent < len(load.values):
            for value in load.due():
                events.put_nowait(value)
            await asyncio.sleep(0.001)

    async with decide_ticks.slots(events, load.answer, redis, model):
        load.began = perf_counter()
        await pace()
        await events.join()
    return load.latency()


def _topics(report: Report, variables: dict[str, str], client: Client, seconds: float, options: Options) -> None:
    name = f"topic to topic, {client}"
    with topics.broker() as kafka:
        own = {**variables, "PENSTOCK_KAFKA": kafka.address, "PENSTOCK_KAFKA_CLIENT": client}
        rate = _capacity(own, kafka.address) / 2
        report.notes.append(f"{name}: {rate:,.0f} events/s, half of its capacity")
        pipeline = Program.module("benchmarks.decide_pipeline", own)
        loop = Program.module(LOOPS[client], {**own, "BENCH_KAFKA": kafka.address})
        how = kafka.address, rate, seconds + WARM, options
        contestants = [
            Contestant(name, lambda: _answered(pipeline, *how)),
            Contestant(f"by hand, {client}", lambda: _answered(loop, *how)),
            Contestant(f"the broker alone, {client}", lambda: _echoed(*how)),
        ]
        report.rates |= take_turns(contestants, rounds=options.rounds, say=options.say)
    target = 20.0
    report.figures.append(Figure(f"{name}, p99", tuple(report.rates[name]), target, at_most=True, unit="ms"))


def _names(address: str) -> dict[str, str]:
    source, out = topics.name("payments"), topics.name("decisions")
    for topic in (source, out):
        topics.create(address, topic)
    return {"BENCH_TOPIC": source, "BENCH_OUT": out, "BENCH_GROUP": topics.name("bench")}


def _capacity(own: dict[str, str], address: str) -> float:
    """Decisions per second at full speed."""
    names = _names(address)
    topics.fill(address, names["BENCH_TOPIC"], records(20_000), TOPIC_EVENTS)
    turn = {"BENCH_SECONDS": "5", "BENCH_EVENTS": str(TOPIC_EVENTS)}
    found = Program.module("benchmarks.decide_pipeline", {**own, **names, **turn}).result(patience=90)
    rate: float = found["events"] / found["seconds"]
    return rate


def _answered(program: Program, address: str, rate: float, seconds: float, options: Options) -> float:
    names = _names(address)
    with replace(program, variables={**program.variables, **names}).serving():
        return _load(address, names["BENCH_TOPIC"], names["BENCH_OUT"], rate, seconds, options)


def _echoed(address: str, rate: float, seconds: float, options: Options) -> float:
    topic = _names(address)["BENCH_TOPIC"]
    return _load(address, topic, topic, rate, seconds, options)


def _load(address: str, topic: str, answers: str, rate: float, seconds: float, options: Options) -> float:
    how = {"address": address, "topic": topic, "answers": answers, "rate": rate, "seconds": seconds}
    found = Program.module("benchmarks.kafka_load", {}, json.dumps(how)).result(patience=seconds + 60)
    if found["missing"]:
        raise Failed(f"{found['missing']:,} of {found['sent']:,} payments were not answered")
    options.say(f"p50 {found['p50']:.1f} ms, p99 {found['p99']:.1f} ms, p99.9 {found['p99.9']:.1f} ms")
    late: float = found["p99"]
    return late
