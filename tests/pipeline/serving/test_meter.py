"""Rates and latencies between two looks at an engine, and how they are shown."""

from __future__ import annotations

import math
from dataclasses import replace
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from rich.console import Console

from penstock.pipeline.serving.live import line, span, table
from penstock.pipeline.serving.meter import NONE, Flow, Latency, Reading, buckets, latency, quantile

BOUNDS = (0.001, 0.01, 0.1, 1.0, math.inf)


def reading(dead: int = 0, problems: tuple[str, ...] = ()) -> Reading:
    return Reading(
        "fraud",
        {"payments": Flow(100, 10)},
        {"kafka:decisions": Flow(90, 9)},
        {"is_alarming": Flow(80, 8)},
        {},
        Flow(dead, 0),
        3,
        {"kafka:payments": 7},
        {"payments": NONE, "decide": Latency(10, 0.001, 0.002)},
        Latency(10, 0.01, 0.02),
        problems,
    )


@given(st.lists(st.floats(0.0, 0.999), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_lies_in_its_bucket(values: list[float], share: float) -> None:
    counts = {bound: float(sum(value <= bound for value in values)) for bound in BOUNDS}
    exact = sorted(values)[min(len(values) - 1, max(0, math.ceil(share * len(values)) - 1))]
    upper = next(bound for bound in BOUNDS if exact <= bound)
    lower = max((bound for bound in BOUNDS if bound < upper), default=0.0)
    assert lower <= quantile(counts, share) <= upper


def test_only_what_came_since_the_last_look_counts() -> None:
    before = {0.001: 100.0, 0.01: 100.0, math.inf: 100.0}
    now = {0.001: 100.0, 0.01: 110.0, math.inf: 110.0}
    found = latency(now, before)
    assert found.count == 10
    assert 0.001 < found.p50 < 0.01
    assert latency(before, before) == NONE


def test_buckets_of_a_histogram_by_label() -> None:
    histogram = Histogram("h", "help", ["stage"], registry=CollectorRegistry(), buckets=BOUNDS)
    histogram.labels("decide").observe(0.05)
    assert buckets(histogram, "stage")["decide"] == {0.001: 0, 0.01: 0, 0.1: 1, 1.0: 1, math.inf: 1}


def test_one_line_for_logs() -> None:
    assert line(reading(dead=2)) == (
        "fraud: 10 events/s in, 9 actions/s out, decided in 10 ms (p99 20 ms); "
        "so far 100 events, 2 dead letters, 3 in flight"
    )


def shown(reading: Reading, width: int = 100, lines: int = 50) -> str:
    out = StringIO()
    Console(file=out, width=width).print(table(reading, 75.0, width, lines))
    return out.getvalue()


def test_the_table_names_stages_sinks_and_problems() -> None:
    found = shown(reading(problems=("store: gone",)))
    assert "fraud  store: gone  up 1:15" in found
    for text in ("decide", "kafka:decisions", "is_alarming", "waiting", "dead letters", "1 ms"):
        assert text in found


@pytest.mark.parametrize("lines", range(10, 16))
def test_the_table_fits_a_window_and_keeps_what_is_slow(lines: int) -> None:
    stages = {
        "quick": Latency(9, 1e-6, 1e-6),
        "slow": Latency(9, 0.1, 0.2),
        "unused": NONE,
        "middling": Latency(9, 0.01, 0.02),
    }
    found = shown(replace(reading(dead=2), stages=stages), width=80, lines=lines)
    assert len(found.splitlines()) <= lines
    assert max(map(len, found.splitlines())) <= 80
    for text in ("in flight", "dead letters", "20 ms"):
        assert text in found
    # Everything takes 14 lines: 9 that are always there, four stages and a filter.
    order = ["slow", "middling", "quick", "unused", "is_alarming"]
    kept = 5 if lines >= 14 else lines - 10
    assert [name for name in order if f" {name} " in found] == order[:kept]
    assert ("in a taller window" in found) == (lines < 14)


def test_lengths_of_time() -> None:
    assert [span(value) for value in (2e-7, 3.2e-5, 0.25, 61.0)] == ["0.2 µs", "32 µs", "250 ms", "61 s"]
    assert span(math.nan) == "-"
