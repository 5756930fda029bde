"""Ten minutes at 10,000 events/s: what the process holds at the end, against its own second minute.

Measured: the resident memory of a process that runs `decide` from topic to topic against a real Kafka and Redis, once a
second; the median of the last minute over the median of the second one. A generator in a process of its own sends at
10,000 events/s, and the report says how many decisions arrived. `--seconds` shortens the run; the two windows are then
tenths of it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import time

import psutil

from benchmarks import decision, topics
from benchmarks.child import Program, end
from benchmarks.measure import Figure, Report
from benchmarks.options import Options

SECONDS = 600.0
RATE = 10_000


def run(options: Options) -> Report:
    """One run."""
    seconds = options.seconds or SECONDS
    report = Report("memory", "", unit="MB")
    with topics.broker() as kafka, decision.environment() as variables:
        source, out, group = topics.name("payments"), topics.name("decisions"), topics.name("bench")
        for topic in (source, out):
            topics.create(kafka.address, topic)
        own = {**variables, "PENSTOCK_KAFKA": kafka.address}
        own |= {"BENCH_TOPIC": source, "BENCH_OUT": out, "BENCH_GROUP": group}
        how = {"address": kafka.address, "topic": source, "rate": RATE, "seconds": seconds}
        with Program.module("benchmarks.decide_pipeline", own).serving() as pipeline:
            process = psutil.Process(pipeline.pid)
            load = Program.module("benchmarks.kafka_load", {}, json.dumps(how)).start(stdout=subprocess.DEVNULL)
            try:
                held = _sample(process, seconds, options)
                load.wait(30)
            finally:
                end(load)
        sent, arrived = topics.length(kafka.address, source), topics.length(kafka.address, out)
    window = max(1, round(min(60.0, seconds / 10)))
    early, late = held[window : 2 * window], held[-window:]
    report.rates = {"second minute": early, "last minute": late}
    growth = 100 * (statistics.median(late) / statistics.median(early) - 1)
    report.figures = [Figure("growth", (growth,), 5.0, at_most=True, unit="%")]
    report.notes = [f"{sent:,} payments sent in {seconds:.0f} s, {arrived:,} decisions arrived"]
    return report


def _sample(process: psutil.Process, seconds: float, options: Options) -> list[float]:
    """Megabytes resident, once a second."""
    held: list[float] = []
    began = time.monotonic()
    while len(held) < seconds:
        time.sleep(max(0.0, began + len(held) + 1 - time.monotonic()))
        held.append(process.memory_info().rss / 1e6)
        if len(held) % 30 == 0:
            options.say(f"{len(held)} s: {held[-1]:.1f} MB")
    return held
