"""The four stages on dict payloads that every Kafka, MQTT and HTTP contestant runs, and the clock that times them.

Peers load this file by itself, in environments without penstock: it needs nothing but the standard library.
Stages return new dicts, so that an event that is tried again is the event that came.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

RATES = {"EUR": 1.0, "USD": 0.92, "GBP": 1.17, "CHF": 1.04, "SEK": 0.088}


def in_euros(payment: dict[str, Any]) -> dict[str, Any]:
    """The amount in one currency."""
    return {**payment, "euros": round(payment["amount"] * RATES[payment["currency"]], 2)}


def classify(payment: dict[str, Any]) -> dict[str, Any]:
    """Which kind of payment it is."""
    euros = payment["euros"]
    return {**payment, "band": "large" if euros > 500 else "medium" if euros > 50 else "small"}


def score(payment: dict[str, Any]) -> dict[str, Any]:
    """A crude risk."""
    risk = min(1.0, payment["euros"] / 1000) * (1.5 if payment["band"] == "large" else 1.0)
    return {**payment, "risk": risk}


class Turn:
    """Counts events, ends the process when its turn is over, and tells the rate.

    The clock starts at the first event. The turn ends after `seconds`, whatever comes meanwhile, or with event number
    `most`, and the process with it, at once and without a last commit: a turn is a run that is cut off. What happened
    is one line of JSON on standard output: events, seconds.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self.seconds = seconds
        self.most = most
        self.count = 0
        self.began = 0.0
        self._next = 1

    @classmethod
    def given(cls) -> Turn:
        """As the environment describes it: `BENCH_SECONDS`, `BENCH_EVENTS`. Without, it goes on until a signal comes,
        and says so with the line `ready`.
        """
        if "BENCH_SECONDS" in os.environ:
            return cls(float(os.environ["BENCH_SECONDS"]), int(os.environ["BENCH_EVENTS"]))
        endless = cls(math.inf, sys.maxsize)
        endless._next = sys.maxsize
        print("ready", flush=True)
        return endless

    def one(self) -> None:
        """One event more."""
        self.count += 1
        if self.count >= self._next:
            self._mark()

    def _mark(self) -> None:
        if self.count >= self.most:
            self._end()
        self._next = self.most
        self.began = time.perf_counter()
        timer = threading.Timer(self.seconds, self._end)
        timer.daemon = True
        timer.start()

    def _end(self) -> None:
        found = {"events": self.count, "seconds": time.perf_counter() - self.began}
        # Past `sys.stdout`, which some redirect to their log.
        os.write(1, json.dumps(found).encode() + b"\n")
        os._exit(0)


def decide(payment: dict[str, Any]) -> dict[str, Any]:
    """The fourth stage."""
    return {**payment, "decision": "refuse" if payment["risk"] > 0.9 else "allow"}


def finish() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The fourth stage, which also counts, for the turn that the environment describes."""
    one = Turn.given().one

    def finish(payment: dict[str, Any]) -> dict[str, Any]:
        one()
        return {**payment, "decision": "refuse" if payment["risk"] > 0.9 else "allow"}

    return finish
