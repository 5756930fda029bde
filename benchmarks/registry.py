"""The benchmarks by name."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

from benchmarks.measure import Report
from benchmarks.options import Options

NAMES = (
    "engine",
    "decide",
    "kafka",
    "kafka-to-kafka",
    "latency",
    "mqtt",
    "http",
    "start",
    "memory",
    "poison",
    "guarded",
    "spike",
    "parked",
)


def run(name: str, options: Options) -> Report:
    """Run one benchmark. Its third-party modules are imported only now."""
    report: Report = _module(name).run(options)
    return report


def describe(name: str) -> str:
    """The first line of what a benchmark says of itself."""
    return (inspect.getdoc(_module(name)) or "").partition("\n")[0]


def _module(name: str) -> Any:
    return import_module(f"benchmarks.{name.replace('-', '_')}")
