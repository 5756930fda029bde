"""What the command line tells a benchmark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Client = Literal["confluent", "kafka-python"]


@dataclass(frozen=True)
class Options:
    """Settings of one run.

    - `rounds`: how often each contestant runs and counts.
    - `seconds`: how long one turn lasts where turns are measured by the clock; 0 is the benchmark's own.
    - `suspend`: `engine` with one suspension per event (`--async`).
    - `clients`: which Kafka clients take part.
    - `only`: contestants to run, by the beginning of their name; all where empty. For looking at one of them.
    - `say`: hears what is going on.
    """

    rounds: int = 5
    seconds: float = 0.0
    suspend: bool = False
    clients: tuple[Client, ...] = ("confluent", "kafka-python")
    only: tuple[str, ...] = ()
    say: Callable[[str], None] = lambda line: None

    def wants(self, name: str) -> bool:
        """Whether this contestant takes part."""
        return not self.only or any(name.startswith(start) for start in self.only)
