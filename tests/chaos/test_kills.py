"""Workers that end in the middle of everything: nothing is lost or counted twice, and every key keeps its order.

`DEATHS` is how many there are in all (40 by default). They come in bouts with topics, keys and a ledger of their own,
so that a long run says as it goes what it has found.
"""

from __future__ import annotations

import logging
import os
import time
from functools import partial
from random import Random

import psutil
import pytest

from tests.application.process import Process, until
from tests.chaos.trial import PATIENCE, Trial

pytestmark = pytest.mark.slow
log = logging.getLogger("chaos")

DEATHS = int(os.environ.get("DEATHS", "40"))
EACH = min(50, DEATHS // 2)
"""Deaths of one bout."""

KINDS = ((1, "confluent"), (2, "kafka-python"), (1, "kafka-python"), (2, "confluent"))
"""Workers, and the client of Kafka: what the bouts have in turn."""


@pytest.mark.timeout(600 + 20 * EACH)
@pytest.mark.parametrize("bout", range(DEATHS // EACH))
def test_killed_at_any_moment(bout: int, program: Process, topics: str, seed: int) -> None:
    workers, client = KINDS[bout % len(KINDS)]
    program.variables |= {"PENSTOCK_WORKERS": str(workers)} if workers > 1 else {}
    program.variables["PENSTOCK_KAFKA_CLIENT"] = client
    random = Random(seed + bout)
    settings = program.variables
    kafka, mqtt, store = settings["PENSTOCK_KAFKA"], settings["PENSTOCK_MQTT"], settings["PENSTOCK_STORE"]
    deaths = 0
    with Trial(program, topics, seed + bout, kafka=kafka, mqtt=mqtt, redis=store) as trial:
        while deaths < EACH:
            before, deaths = deaths, deaths + kill(trial, random)
            if deaths // 10 > before // 10:
                log.info("%d deaths; %d events of this bout were taken", bout * EACH + deaths, len(trial.sent))
        # Workers take what has no partitions side by side.
        repeated = trial.finish(ordered=("kafka", "redis", "http", "mqtt")[: 4 if workers == 1 else 3])
    log.info("%d workers, %s: %d events, %d actions repeated", workers, client, len(trial.sent), repeated)


def kill(trial: Trial, random: Random) -> int:
    """Kill one worker, or all, or their parent alone: mostly at work, sometimes while they start.

    Returns how many workers died. Those whose parent is gone do not: they drain.
    """
    program = trial.program
    trial.allow(60)
    until(lambda: trial.going() and workers_of(program), program.tail, patience=PATIENCE)
    victim = random.choice(workers_of(program))
    enough = random.choice((0, 1, 1, 20, 60))
    until(
        lambda: trial.going() and (not enough or taken(program, victim) >= enough),
        lambda: f"it takes {enough} events, and took {taken(program, victim)}\n{program.tail()}",
        patience=PATIENCE,
    )
    time.sleep(random.random() * 0.7)
    assert program.running and not gone(victim), f"it ended by itself\n{program.tail()}"
    how = random.choice(("one", "one", "one", "all", "parent"))
    whole = how != "one" or victim.pid == program.pid
    victims = [victim] if victim.pid == program.pid or how == "one" else workers_of(program) if how == "all" else []
    for one in victims:
        one.kill()
    if whole:
        program.kill()
        program.start(wait=False)
    for one in victims:
        until(partial(gone, one), "it is gone", patience=PATIENCE)
    return len(victims)


def workers_of(program: Process) -> list[psutil.Process]:
    """The processes that take events: the program itself, or its children."""
    parent = psutil.Process(program.pid)
    found = parent.children() if "PENSTOCK_WORKERS" in program.variables else [parent]
    return [one for one in found if not gone(one)]


def taken(program: Process, worker: psutil.Process) -> float:
    """How many events this worker has taken since it started."""
    number = worker.environ().get("PENSTOCK_WORKER", "")
    found = [sample for sample in program.samples() if sample.name == "penstock_events_total"]
    return sum(sample.value for sample in found if sample.labels.get("worker", "") == number)


def gone(process: psutil.Process) -> bool:
    """Whether it is there no more."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
