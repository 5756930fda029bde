"""A card that cannot be decided for a minute, with a tenth of 10,000 payments a second: what the others feel of it.

Measured, from topic to topic on a real Kafka, with a Redis that has on disk what it has answered (`appendfsync always`)
as the store: payments become due at a steady rate for ten seconds; then a stage fails on all payments of one card for
sixty (`--seconds`), is tried again and again, and what comes behind is set aside; then it succeeds, for twenty seconds
more. The figures are the 99th percentile of the others' latency meanwhile over that before, the payments held in memory
at most, those that were lost, and decisions that came before an earlier one of their card. The notes have the
latencies, how many were set aside, the process's memory, and how long it took until the card had caught up.
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from dataclasses import dataclass, field

import psutil
from prometheus_client.parser import text_string_to_metric_families

from benchmarks import topics
from benchmarks.child import Failed, Program, end
from benchmarks.machine import placement
from benchmarks.measure import Figure, Report
from benchmarks.options import Options
from tests.servers import Redis
from tests.servers.port import HOST, free_port

RATE = 10_000
CALM, PARKED, AFTER = 10.0, 60.0, 20.0
HELD = 12_000
"""Payments that may wait in memory behind all keys: 10,000, and what was in hand when they were that many."""


@dataclass
class Seen:
    """What a look at the process every half second has found at most; memory in megabytes."""

    address: str
    process: psutil.Process
    held: float = 0.0
    aside: float = 0.0
    lag: float = 0.0
    memory: list[float] = field(default_factory=list)

    def look(self) -> None:
        """Once."""
        with urllib.request.urlopen(f"http://{self.address}/metrics", timeout=10) as answer:
            families = text_string_to_metric_families(answer.read().decode())
            found = {sample.name: sample.value for family in families for sample in family.samples}
        self.held = max(self.held, found["penstock_parked"])
        self.aside = max(self.aside, found["penstock_spilled"])
        self.lag = max(self.lag, found.get("penstock_lag", 0.0))
        self.memory.append(self.process.memory_info().rss / 1e6)


def run(options: Options) -> Report:
    """One run."""
    parked = options.seconds or PARKED
    report = Report("parked", "", unit="MB", notes=[placement(), f"{RATE:,} payments/s, a tenth of one card"])
    admin = f"{HOST}:{free_port()}"
    with topics.broker() as kafka, Redis({"appendfsync": "always"}) as redis:
        source, out = topics.name("payments"), topics.name("decisions")
        for topic in (source, out):
            topics.create(kafka.address, topic)
        variables = {
            "PENSTOCK_KAFKA": kafka.address,
            "PENSTOCK_STORE": redis.address,
            "PENSTOCK_ADMIN_LISTEN": admin,
            "BENCH_TOPIC": source,
            "BENCH_OUT": out,
            "BENCH_GROUP": topics.name("bench"),
            "BENCH_FROM": str(int(RATE * CALM)),
            "BENCH_SECONDS": str(parked),
        }
        how = {"address": kafka.address, "topic": source, "answers": out, "rate": RATE}
        how |= {"calm": CALM, "parked": parked, "after": AFTER}
        with Program.module("benchmarks.parked_pipeline", variables).serving() as pipeline:
            seen = Seen(admin, psutil.Process(pipeline.pid))
            load = Program.module("benchmarks.parked_load", {}, json.dumps(how)).start(stdout=subprocess.PIPE)
            try:
                while load.poll() is None:
                    time.sleep(0.5)
                    seen.look()
                said = load.communicate()[0].splitlines()
            finally:
                end(load)
    if not said:
        raise Failed("the load ended without a result")
    found = json.loads(said[-1])
    calm = seen.memory[: int(2 * CALM)]
    report.rates = {"memory before": calm, "memory from then on": seen.memory[len(calm) :]}
    ratio = found["while"]["p99"] / found["before"]["p99"]
    report.figures = [
        Figure("p99 of the others, while the card is parked / before", (ratio,)),
        Figure("payments held in memory, at most", (seen.held,), HELD, at_most=True, unit=""),
        Figure("payments lost", (float(found["lost"]),), 0.0, at_most=True, unit=""),
        Figure("decisions out of their card's order", (float(found["disorder"]),), 0.0, at_most=True, unit=""),
    ]
    report.notes += [
        f"{found['sent']:,} payments, {found['repeated']:,} decisions came again",
        *(
            f"the others {when} it is parked: p50 {found[when]['p50']:.1f} ms, p99 {found[when]['p99']:.1f} ms"
            for when in ("before", "while")
        ),
        f"set aside in the store, at most: {seen.aside:,.0f}; not yet read from Kafka, at most: {seen.lag:,.0f}",
        f"memory: {max(calm):.0f} MB before, {max(seen.memory):.0f} MB at most",
        f"the card had caught up {found['caught_up']:.1f} s after its stage succeeded again",
    ]
    return report
