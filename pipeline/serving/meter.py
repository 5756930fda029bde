"""What an engine is doing now: rates and latencies between two looks at its counts."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import Histogram

if TYPE_CHECKING:
    from penstock.pipeline.engine.engine import Engine

WINDOW = 10.0
"""Seconds that latencies are taken over."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Quantiles in seconds, of `count` sampled events; NaN where there were none."""

    count: float
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Flow:
    """Something counted: how often it happened so far, and per second now."""

    total: float
    rate: float


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at an engine. The keys are names of stages, sources and sinks."""

    name: str
    events: Mapping[str, Flow]
    actions: Mapping[str, Flow]
    filtered: Mapping[str, Flow]
    failures: Mapping[str, Flow]
    dead: Flow
    in_flight: float
    lag: Mapping[str, float]
    stages: Mapping[str, Latency]
    decision: Latency
    problems: Sequence[str]


class Meter:
    """Looks at one engine again and again; `read` compares with the look before."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._before: dict[tuple[str, str], float] = {}
        self._at = time.monotonic()
        self._counts: deque[tuple[float, dict[str, dict[float, float]]]] = deque()

    def read(self) -> Reading:
        """What happened since the last call."""
        now = time.monotonic()
        passed, self._at = max(now - self._at, 1e-6), now
        found = self.engine.statistics()
        flows = {
            metric: {name: self._flow(metric, name, value, passed) for name, value in found[metric].items()}
            for metric in ("events", "actions", "filtered", "failures", "dead_letters")
        }
        latencies = self._latencies(now)
        dead = flows["dead_letters"].values()
        return Reading(
            self.engine.graph.name,
            flows["events"],
            flows["actions"],
            flows["filtered"],
            flows["failures"],
            Flow(sum(flow.total for flow in dead), sum(flow.rate for flow in dead)),
            sum(found["in_flight"].values()),
            found["lag"],
            {node.stage: latencies.get(node.stage, NONE) for node in self.engine.graph if node.stage in latencies},
            latencies.get("", NONE),
            self.engine.problems(),
        )

    def _flow(self, metric: str, name: str, value: float, passed: float) -> Flow:
        before = self._before.get((metric, name), 0.0)
        self._before[metric, name] = value
        return Flow(value, (value - before) / passed)

    def _latencies(self, now: float) -> dict[str, Latency]:
        """By stage, and of decisions under the empty name, over the last seconds."""
        counts = {**buckets(self.engine.metrics.stage, "stage"), **buckets(self.engine.metrics.decision, "")}
        self._counts.append((now, counts))
        while len(self._counts) > 2 and now - self._counts[1][0] >= WINDOW:
            self._counts.popleft()
        before = self._counts[0][1] if now - self._counts[0][0] >= 1.0 else {}
        return {name: latency(some, before.get(name, {})) for name, some in counts.items()}


NONE = Latency(0, math.nan, math.nan)


def buckets(histogram: Histogram, label: str) -> dict[str, dict[float, float]]:
    """A histogram's cumulative counts by upper bound, for each value of a label."""
    found: dict[str, dict[float, float]] = {}
    for family in histogram.collect():
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                name = sample.labels[label] if label else ""
                found.setdefault(name, {})[float(sample.labels["le"])] = sample.value
    return found


def latency(counts: Mapping[float, float], before: Mapping[float, float]) -> Latency:
    """The quantiles of what was counted since `before`. Between two bounds they are interpolated.

    >>> latency({0.001: 90, 0.01: 100, math.inf: 100}, {}).p50 < 0.001
    True
    """
    new = {bound: count - before.get(bound, 0.0) for bound, count in counts.items()}
    total = max(new.values(), default=0.0)
    return Latency(total, quantile(new, 0.5), quantile(new, 0.99)) if total else NONE


def quantile(counts: Mapping[float, float], share: float) -> float:
    """The value below which this share of the counted lies, from cumulative counts by upper bound.

    >>> quantile({1.0: 50, 2.0: 100, math.inf: 100}, 0.75)
    1.5
    """
    wanted = share * max(counts.values())
    lower = below = 0.0
    for bound, count in counts.items():
        if count >= wanted:
            if math.isinf(bound):
                return lower
            if count == below:
                return bound
            return min(bound, lower + (bound - lower) * (wanted - below) / (count - below))
        lower, below = bound, count
    return lower
