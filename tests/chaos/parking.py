"""The program of which one key cannot be processed for as long as a file is there."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from penstock import Pipeline, Retries
from penstock.connectors import Kafka

TOPICS = os.environ.get("TALLY_TOPICS", "")
BROKEN = Path(os.environ.get("PARKING_BROKEN", "broken"))
HOT = "hot"


class Step(msgspec.Struct, frozen=True):
    """An event of a key."""

    id: str
    key: str


class Closed(Exception):
    """What whoever is asked about the hot key answers."""


def ask(step: Step) -> Step:
    """Fails on the hot key."""
    if step.key == HOT and BROKEN.exists():
        raise Closed("not now")
    return step


def passed(step: Step) -> Step:
    """What is told of an event."""
    return step


parking = Pipeline("parking", retry=Retries(attempts=1_000_000, first="50ms", longest="200ms"))
steps = parking.source(Kafka(f"{TOPICS}in", start="earliest"), schema=Step, key="key", id="id")
steps.transform(ask).act(passed, to=Kafka(f"{TOPICS}out"))
