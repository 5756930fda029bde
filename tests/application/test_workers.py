"""Two worker processes share a topic; one is killed, replaced, and nothing is lost."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import psutil
import pytest

from tests.application.foreign import kcat_produce, make_topic
from tests.application.ledger import decided, first_in_order, ids, payment
from tests.application.process import Process, until

pytestmark = pytest.mark.slow

WAVE = 200


@pytest.fixture(params=["confluent", "kafka-python"])
def program(
    request: pytest.FixtureRequest, tmp_path: Path, topics: str, kafka_address: str, variables: dict[str, str]
) -> Iterator[Process]:
    """The program on two workers, a topic of four partitions before it."""
    make_topic(kafka_address, f"{topics}payments", partitions=4)
    variables |= {
        "PENSTOCK_WORKERS": "2",
        "PENSTOCK_KAFKA_CLIENT": request.param,
        "PENSTOCK_KAFKA_SESSION_TIMEOUT": "4s",
        "FRAUD_WEATHER_SECONDS": "0.01",
        "FRAUD_SLOTS": "8",
    }
    with Process(tmp_path, variables) as process:
        yield process


def by_worker(program: Process) -> dict[str, float]:
    """Events that each worker has received."""
    found: dict[str, float] = {}
    for sample in program.samples():
        if sample.name == "penstock_events_total":
            found[sample.labels["worker"]] = found.get(sample.labels["worker"], 0) + sample.value
    return found


def workers(program: Process) -> set[int]:
    """Their process ids."""
    return {child.pid for child in psutil.Process(program.pid).children() if child.status() != psutil.STATUS_ZOMBIE}


class Sender(Thread):
    """Payments of 200 cards to a topic, a wave every so often, until it is told to stop. `sent` counts them."""

    def __init__(self, address: str, topic: str) -> None:
        super().__init__()
        self.address, self.topic = address, topic
        self.sent = 0
        self._enough = Event()

    def run(self) -> None:
        while not self._enough.wait(0.15):
            some = [f"card-{at % 200}" for at in range(self.sent, self.sent + WAVE)]
            made = [payment(f"w-{self.sent + at}", card).encode() for at, card in enumerate(some)]
            kcat_produce(self.address, self.topic, made, keys=some)
            self.sent += WAVE

    def __enter__(self) -> Sender:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self.join()


def test_a_killed_worker_is_replaced_and_loses_nothing(program: Process, topics: str, kafka_address: str) -> None:
    program.start()
    with Sender(kafka_address, f"{topics}payments") as sender:
        both_work(program)
        before = workers(program)
        assert len(before) == 2
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(workers(program)) == 2 and victim not in workers(program), program.tail)
        both_work(program)
    expected = Counter(f"w-{at}" for at in range(sender.sent))
    until(lambda: not expected - ids(decided(kafka_address, topics)), lambda: f"{program.metrics()}\n{program.tail()}")
    found = decided(kafka_address, topics)
    assert ids(found).keys() == expected.keys()
    assert all(numbers == sorted(numbers) for numbers in first_in_order(found).values())
    program.ready()
    assert program.stop() == 0, program.tail()


def both_work(program: Process) -> None:
    """Wait until each worker has received something since it started."""
    until(lambda: len(by_worker(program)) == 2 and all(by_worker(program).values()), lambda: str(by_worker(program)))
