"""Workers that end in the middle of everything: nothing is lost or counted twice, and every key keeps its order."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from random import Random

import psutil
import pytest

from tests.application.foreign import make_topic
from tests.application.process import Process, until
from tests.chaos.ledger import Ledger
from tests.chaos.senders import PARTITIONS, Sender, ThroughHttp, ThroughKafka, ThroughMqtt, ThroughRedis

pytestmark = pytest.mark.slow

DEATHS = int(os.environ.get("DEATHS", "40"))


def senders(program: Process, topics: str) -> list[Sender]:
    """One for each door."""
    settings = program.variables
    return [
        ThroughKafka(settings["PENSTOCK_KAFKA"], f"{topics}in"),
        ThroughMqtt(settings["PENSTOCK_MQTT"], f"{topics}in/all"),
        ThroughHttp(program.http),
        ThroughRedis(settings["PENSTOCK_STORE"], f"{topics}in"),
    ]


@pytest.mark.timeout(120 + 6 * DEATHS)
@pytest.mark.parametrize(("workers", "client"), [(1, "confluent"), (2, "kafka-python")])
def test_killed_at_any_moment(
    workers: int, client: str, program: Process, topics: str, kafka_address: str, seed: int
) -> None:
    program.variables |= {"PENSTOCK_WORKERS": str(workers)} if workers > 1 else {}
    program.variables["PENSTOCK_KAFKA_CLIENT"] = client
    random = Random(seed + workers)
    ledger = Ledger(kafka_address, topics, f"seed {seed}, log {program.log}")
    for topic, partitions in (("in", PARTITIONS), ("counted", 1), ("sold", 1)):
        make_topic(kafka_address, f"{topics}{topic}", partitions=partitions)
    program.start()
    with ExitStack() as stack:
        sending = [stack.enter_context(sender) for sender in senders(program, topics)]
        deaths = 0
        while deaths < DEATHS // 2:
            alive(program, random)
            victims = psutil.Process(program.pid).children() if workers > 1 else []
            if victims and random.random() < 0.7:
                victim = random.choice(victims)
                victim.kill()
                until(lambda victim=victim: not running(victim), "the worker is gone")  # type: ignore[misc]
            else:
                program.kill()
                program.start(wait=False)
            deaths += 1
        for sender in sending:
            sender.stop()
    sent = [step for sender in sending for step in sender.sent]
    until(
        lambda: not ledger.missing(sent),
        lambda: f"missing {ledger.missing(sent)[:20]} of {len(sent)}: {ledger.what}\n{program.tail()}",
        patience=60.0,
    )
    ordered = ("kafka", "redis", "http") if workers > 1 else ("kafka", "redis", "http", "mqtt")
    repeated = ledger.check(sent, ordered=ordered)
    print(f"{deaths} deaths, {len(sent)} events, {repeated} actions repeated")
    program.ready()
    assert program.metrics()["dead_letters"] == 0, program.tail()
    assert program.stop() == 0, program.tail()


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


def running(process: psutil.Process) -> bool:
    """Whether it is still there."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
