"""Workers that end in the middle of everything: nothing is lost or counted twice, and every key keeps its order."""

from __future__ import annotations

import os
import time
from functools import partial
from random import Random

import psutil
import pytest

from tests.application.process import Process, until
from tests.chaos.trial import Trial

pytestmark = pytest.mark.slow

DEATHS = int(os.environ.get("DEATHS", "40"))


@pytest.mark.timeout(120 + 6 * DEATHS)
@pytest.mark.parametrize(("workers", "client"), [(1, "confluent"), (2, "kafka-python")])
def test_killed_at_any_moment(workers: int, client: str, program: Process, topics: str, seed: int) -> None:
    program.variables |= {"PENSTOCK_WORKERS": str(workers)} if workers > 1 else {}
    program.variables["PENSTOCK_KAFKA_CLIENT"] = client
    random = Random(seed + workers)
    settings = program.variables
    kafka, mqtt, store = settings["PENSTOCK_KAFKA"], settings["PENSTOCK_MQTT"], settings["PENSTOCK_STORE"]
    with Trial(program, topics, seed, kafka=kafka, mqtt=mqtt, redis=store) as trial:
        for _ in range(DEATHS // 2):
            alive(program, random)
            victims = psutil.Process(program.pid).children() if workers > 1 else []
            if victims and random.random() < 0.7:
                victim = random.choice(victims)
                victim.kill()
                until(partial(gone, victim), "the worker is gone")
            else:
                program.kill()
                program.start(wait=False)
        # Workers take what has no partitions side by side.
        trial.finish(ordered=("kafka", "redis", "http", "mqtt")[: 4 if workers == 1 else 3], patience=90.0)


def alive(program: Process, random: Random) -> None:
    """Let it live for a while: until it has come so far, a moment longer, or until every door has been read."""
    if random.random() < 0.25:
        deadline = time.monotonic() + 8
        doors = ("kafka", "mqtt", "http", "redis")
        while time.monotonic() < deadline and not all(any(door in line for line in taken(program)) for door in doors):
            time.sleep(0.1)
    else:
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline and program.get("/readyz")[0] != 200:
            time.sleep(0.05)
    time.sleep(random.random() * 0.7)


def taken(program: Process) -> list[str]:
    """The topics that something has come from since the program started."""
    return [sample.labels.get("name", "") for sample in program.samples() if sample.name == "penstock_events_total"]


def gone(process: psutil.Process) -> bool:
    """Whether it is there no more."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
