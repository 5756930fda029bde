"""Ten times the steady rate for ten seconds, and back: what is lost, and how soon it is as quick as before.

Measured, for `decide` with the engine in this process, Redis and the model included: payments become due at a tenth of
the measured capacity for ten seconds, at ten times that for ten, and as at first for fifteen. Each counts from the
moment at which it is due. The figure is the time from the end of the spike until the 99th percentile of a tenth of a
second is again what 99 in 100 such tenths of the steady seconds stayed below; a payment without its decision fails the
run. With `BENCH_PLOT=FILE` in the environment, the percentiles over time are drawn there.
"""

from __future__ import annotations

import asyncio
import os
from array import array
from collections.abc import Sequence
from time import perf_counter

from benchmarks import decision
from benchmarks.child import Failed
from benchmarks.machine import first_core, placement
from benchmarks.measure import Contestant, Figure, Report, percentile, take_turns
from benchmarks.options import Options
from benchmarks.payments import records
from benchmarks.penstock_side import Running, drain
from penstock.connectors.memory import Memory
from penstock.pipeline.serving.run import on_loop

BEFORE, SPIKE, AFTER = 10.0, 10.0, 15.0
TIMES = 10
WARM = 1.0
STEP = 0.1
EVENTS = 40_000


def run(options: Options) -> Report:
    """The capacity first, then a spike for each round."""
    report = Report("spike", "", unit="s", notes=[placement()])
    values = [record.value for record in records(EVENTS)]
    with decision.environment() as variables, first_core():
        capacity = 0.0
        for _ in range(2):
            made = decision.pipeline("capacity", Memory("payments"), Memory("decisions"))
            capacity = on_loop(drain(made, "payments", values, sink="decisions", variables=variables)).rate
        rate = 0.8 * capacity / TIMES
        report.notes.append(f"{rate:,.0f} events/s, {TIMES * rate:,.0f} in the spike; capacity {capacity:,.0f}")

        def turn() -> float:
            late = on_loop(_spiked(variables, Load(rate)))
            if "BENCH_PLOT" in os.environ:
                draw(late, os.environ["BENCH_PLOT"], rate)
            return recovered(late)

        report.rates = take_turns([Contestant("spike", turn)], rounds=options.rounds, warm=False, say=options.say)
    figure = Figure("p99 as before, after the spike's end", tuple(report.rates["spike"]), 2.0, at_most=True, unit="s")
    report.figures.append(figure)
    return report


class Load:
    """When each payment is due, and when it was decided, in seconds from the start."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.due = array("d")
        at = 0.0
        for seconds, pace in ((BEFORE, rate), (SPIKE, TIMES * rate), (AFTER, rate)):
            count = int(seconds * pace)
            self.due.extend(at + number / pace for number in range(count))
            at += seconds
        self.values: Sequence[bytes] = [record.value for record in records(len(self.due))]
        self.decided = array("d", bytes(8 * len(self.due)))


async def _spiked(variables: dict[str, str], load: Load) -> list[tuple[float, float]]:
    """Of each payment when it was due and how long its decision took, in seconds."""
    made = decision.pipeline("spike", Memory("payments"), Memory("decisions"))
    async with Running(made, variables) as running:
        source, sink = running.topic("payments"), running.topic("decisions")
        log, decided = sink.logs[0], load.decided
        began, read, sent, count = perf_counter(), 0, 0, len(load.due)

        def answered() -> None:
            nonlocal read
            new, now = log.values[read:], perf_counter() - began
            read += len(new)
            # A topic in memory keeps all messages, for the garbage collector to walk; a broker has them elsewhere.
            log.extras.clear()
            for each in new:
                decided[int(each[18:27])] = now

        sink.readers.add(answered)
        while sent < count:
            now, first = perf_counter() - began, sent
            while sent < count and load.due[sent] <= now:
                sent += 1
            if sent > first:
                source.extend(load.values[first:sent])
            await asyncio.sleep(0.001)
        await running.finished(count)
    if not all(decided):
        raise Failed(f"{decided.count(0.0):,} of {count:,} payments were not decided")
    return [(due, at - due) for due, at in zip(load.due, decided, strict=True)]


def steps(late: Sequence[tuple[float, float]]) -> list[float]:
    """The 99th percentile of each tenth of a second, in seconds.

    >>> steps([(0.01, 0.5), (0.02, 0.25), (0.11, 0.125)])
    [0.5, 0.125]
    """
    found: list[list[float]] = []
    for due, took in late:
        while len(found) <= due / STEP:
            found.append([])
        found[int(due / STEP)].append(took)
    return [percentile(some, 0.99) if some else 0.0 for some in found]


def recovered(late: Sequence[tuple[float, float]]) -> float:
    """Seconds from the end of the spike to the first of five tenths in a row that are as quick as before it."""
    found = steps(late)
    usual = percentile(found[int(WARM / STEP) : int(BEFORE / STEP)], 0.99)
    end = int((BEFORE + SPIKE) / STEP)
    for at in range(end, len(found) - 5):
        if max(found[at : at + 5]) <= usual:
            return (at - end) * STEP
    return AFTER


def draw(late: Sequence[tuple[float, float]], file: str, rate: float) -> None:
    """The 99th percentile of each tenth of a second, over time."""
    from matplotlib import pyplot

    found = steps(late)
    times = [number * STEP for number in range(len(found))]
    figure, axes = pyplot.subplots(figsize=(8, 3.2))
    axes.axvspan(BEFORE, BEFORE + SPIKE, color="#f3d9c0", label=f"{TIMES} x {rate:,.0f} events/s")
    axes.plot(
        times, [1000 * value for value in found], color="#1f4e79", linewidth=1, label="p99 of a tenth of a second"
    )
    axes.set(xlabel="seconds", ylabel="ms from due to decided", yscale="log", xlim=(0, BEFORE + SPIKE + AFTER))
    axes.legend(loc="upper right", frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(file, bbox_inches="tight")
    pyplot.close(figure)
