"""Taking turns, and what the turns amount to: rates, ratios, medians."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.machine import facts


@dataclass(frozen=True)
class Contestant:
    """Something whose rate is measured: `run` does one round and returns it (events per second, unless said else)."""

    name: str
    run: Callable[[], float]


@dataclass(frozen=True)
class Figure:
    """One ratio, by round, and what it must reach. `at_most` turns the target round."""

    name: str
    ratios: tuple[float, ...]
    target: float | None = None
    at_most: bool = False
    unit: str = "x"

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.ratios)

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None where there is none."""
        if self.target is None:
            return None
        return self.value <= self.target if self.at_most else self.value >= self.target

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "value": round(self.value, 4),
            "unit": self.unit,
            "rounds": [round(ratio, 4) for ratio in self.ratios],
            "target": self.target,
            "at_most": self.at_most,
            "reached": self.reached,
        }


@dataclass
class Report:
    """What one benchmark found."""

    benchmark: str
    command: str
    figures: list[Figure] = field(default_factory=list)
    rates: dict[str, list[float]] = field(default_factory=dict)
    unit: str = "events/s"
    notes: list[str] = field(default_factory=list)
    machine: Mapping[str, Any] = field(default_factory=facts)

    def as_json(self) -> dict[str, Any]:
        return {
            "benchmark": self.benchmark,
            "command": self.command,
            "figures": [figure.as_json() for figure in self.figures],
            "rates": {name: [round(rate, 3) for rate in rates] for name, rates in self.rates.items()},
            "unit": self.unit,
            "notes": self.notes,
            "machine": dict(self.machine),
        }


def take_turns(
    contestants: Sequence[Contestant],
    *,
    rounds: int,
    warm: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, list[float]]:
    """Let every contestant run once a round, in an order that moves on by one each round; their rates, by name.

    With `warm`, a round that does not count comes first. Garbage is collected before each turn, not during it by
    chance: the collector stays on, as it would be in service.
    """
    rates: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    for number in range(-1 if warm else 0, rounds):
        at = max(number, 0) % len(contestants)
        for contestant in [*contestants[at:], *contestants[:at]]:
            gc.collect()
            rate = contestant.run()
            if number >= 0:
                rates[contestant.name].append(rate)
            say(f"{'warm-up' if number < 0 else f'round {number + 1}/{rounds}'}: {contestant.name}: {rate:,.0f}")
    return rates


def ratios(rates: Mapping[str, Sequence[float]], name: str, to: str) -> tuple[float, ...]:
    """Round by round, the rate of one contestant over that of another.

    >>> ratios({"ours": [4.0, 9.0], "loop": [8.0, 10.0]}, "ours", "loop")
    (0.5, 0.9)
    """
    return tuple(ours / theirs for ours, theirs in zip(rates[name], rates[to], strict=True))


def fastest(rates: Mapping[str, Sequence[float]], names: Iterable[str]) -> str:
    """Of these contestants, the one with the highest median.

    >>> fastest({"a": [1.0, 2.0, 3.0], "b": [9.0, 1.0, 1.0]}, ["a", "b"])
    'a'
    """
    return max(names, key=lambda name: statistics.median(rates[name]))


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie. The values need not be sorted.

    >>> percentile([5.0, 1.0, 3.0, 2.0, 4.0], 0.5)
    3.0
    """
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
