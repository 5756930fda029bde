"""What the proofs with real servers share."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from random import Random

import psutil
import pytest

from tests.application.process import Process

TALLY = Path(__file__).parent / "tally.py"


@pytest.fixture
def seed() -> int:
    """The number that everything random of a run follows from: `CHAOS_SEED`, 1 by default, 0 for any."""
    return int(os.environ.get("CHAOS_SEED", "1")) or Random().getrandbits(32)


@pytest.fixture
def topics() -> str:
    """The beginning of every topic's name: no other test has it."""
    return f"c{uuid.uuid4().hex[:8]}."


@pytest.fixture
def settings(topics: str, kafka_address: str, mqtt_address: str, redis_address: str) -> dict[str, str]:
    """The program's settings, with the servers that all tests share."""
    return {
        "PENSTOCK_KAFKA": kafka_address,
        "PENSTOCK_KAFKA_SESSION_TIMEOUT": "2s",
        "PENSTOCK_MQTT": mqtt_address,
        "PENSTOCK_STORE": redis_address,
        "PENSTOCK_DURABILITY": "second",
        "PENSTOCK_NAMESPACE": topics.rstrip("."),
        "TALLY_TOPICS": topics,
    }


@pytest.fixture
def program(tmp_path: Path, settings: dict[str, str]) -> Iterator[Process]:
    """The program, not started yet. Nothing of it is left behind, also of workers whose parent was killed."""
    with Process(tmp_path, settings, TALLY) as process:
        yield process
        process.kill()
    for one in psutil.process_iter(["cwd"]):
        if one.info["cwd"] == str(tmp_path):
            one.kill()
