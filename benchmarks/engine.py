"""The engine alone: four no-op stages with confirmation, key order and metrics, against a plain loop.

Measured: what one event costs from the memory topic to its confirmation. The stages return what they get, so all that
is left is the engine. With `--async` the third stage is a coroutine that suspends once and goes on at the next turn of
the event loop; the reference is then a bare pool of as many coroutines as the pipeline has slots.

Nothing here waits, so the rates are by processor time, which other processes of a busy machine do not touch.
Not measured: decoding (payloads are objects already), any broker, actions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from time import process_time
from typing import Any

from benchmarks.measure import Contestant, Figure, Report, ratios, take_turns
from benchmarks.options import Options
from benchmarks.payments import payments
from benchmarks.penstock_side import drain
from penstock import Pipeline
from penstock.connectors.memory import Memory
from penstock.pipeline.serving.run import on_loop

EVENTS = 400_000
SUSPENDED_EVENTS = 200_000
SLOTS = 256

Payload = dict[str, Any]


def run(options: Options) -> Report:
    """Plain loop, a loop that awaits the four functions, and the pipeline; or, suspended, the pool and the pipeline."""
    report = Report("engine --async" if options.suspend else "engine", "")
    events = _events(SUSPENDED_EVENTS if options.suspend else EVENTS)
    if options.suspend:
        reference, target = "bare pool of coroutines", 0.75
        contestants = [
            Contestant(reference, lambda: on_loop(_pool(events))),
            Contestant("penstock", lambda: on_loop(_suspended(events))),
        ]
    else:
        reference, target = "plain loop", 0.35
        contestants = [
            Contestant(reference, lambda: _plain(events)),
            Contestant("loop that awaits", lambda: on_loop(_awaiting(events))),
            Contestant("penstock", lambda: on_loop(_piped(events))),
        ]
    contestants = [each for each in contestants if options.wants(each.name)]
    report.rates = take_turns(contestants, rounds=options.rounds, say=options.say)
    if {reference, "penstock"} <= report.rates.keys():
        report.figures = [Figure(f"penstock / {reference}", ratios(report.rates, "penstock", reference), target)]
    return report


def one(payment: Payload) -> Payload:
    return payment


def two(payment: Payload) -> Payload:
    return payment


def three(payment: Payload) -> Payload:
    return payment


def four(payment: Payload) -> Payload:
    return payment


async def async_one(payment: Payload) -> Payload:
    return payment


async def async_two(payment: Payload) -> Payload:
    return payment


async def async_three(payment: Payload) -> Payload:
    return payment


async def async_four(payment: Payload) -> Payload:
    return payment


def _events(count: int) -> list[Payload]:
    """Events over 10,000 keys. They share few payload objects: an engine that keeps events keeps references."""
    some = payments(20_000)
    return [some[number % len(some)] for number in range(count)]


def _plain(events: list[Payload]) -> float:
    began = process_time()
    for payment in events:
        four(three(two(one(payment))))
    return len(events) / (process_time() - began)


async def _awaiting(events: list[Payload]) -> float:
    began = process_time()
    for payment in events:
        await async_four(await async_three(await async_two(await async_one(payment))))
    return len(events) / (process_time() - began)


class Tick:
    """Suspends whoever calls it until the next turn of the event loop; all that wait go on together."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: list[asyncio.Future[None]] = []

    def __call__(self) -> asyncio.Future[None]:
        future = self._loop.create_future()
        if not self._waiting:
            self._loop.call_soon(self._go_on)
        self._waiting.append(future)
        return future

    def _go_on(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            future.set_result(None)


def _suspending(tick: Tick) -> Callable[[Payload], Awaitable[Payload]]:
    async def three(payment: Payload) -> Payload:
        await tick()
        return payment

    return three


async def _pool(events: list[Payload]) -> float:
    suspending = _suspending(Tick())

    async def slot(events: Iterator[Payload]) -> None:
        for payment in events:
            four(await suspending(two(one(payment))))

    began = process_time()
    shared = iter(events)
    await asyncio.gather(*(slot(shared) for _ in range(SLOTS)))
    return len(events) / (process_time() - began)


async def _suspended(events: list[Payload]) -> float:
    pipeline = Pipeline("engine-async", concurrency=SLOTS)
    stream = pipeline.source(Memory("in"), schema=Payload, key="card")
    stream.transform(one).transform(two).transform(_suspending(Tick())).transform(four).end()
    return len(events) / (await drain(pipeline, "in", events)).processor


async def _piped(events: list[Payload]) -> float:
    pipeline = Pipeline("engine")
    stream = pipeline.source(Memory("in"), schema=Payload, key="card")
    stream.transform(one).transform(two).transform(three).transform(four).end()
    return len(events) / (await drain(pipeline, "in", events)).processor
