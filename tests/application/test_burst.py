"""Far more than the program can take: what waits at the broker waits there, and none of it is lost."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.application.foreign import mosquitto_pub
from tests.application.ledger import decided, first_in_order, ids, payments
from tests.application.process import Process, lines, until

pytestmark = pytest.mark.slow

BURST = 20_000


@pytest.fixture
def program(tmp_path: Path, variables: dict[str, str]) -> Iterator[Process]:
    """The program, slower than the burst: 32 slots that each wait a hundredth of a second for every payment."""
    with Process(tmp_path, variables | {"FRAUD_WEATHER_SECONDS": "0.01", "FRAUD_SLOTS": "32"}) as process:
        yield process


def test_a_burst_over_mqtt_is_taken_whole(program: Process, topics: str, kafka_address: str, mqtt_address: str) -> None:
    """The broker has confirmed all of it to the sender before the program, slow and then frozen, has seen it."""
    program.start()
    topic, sent = f"{topics}terminals/T-1/payments", payments("burst", BURST, cards=500)
    mosquitto_pub(mqtt_address, topic, lines(sent[: BURST // 2]), lines=True)
    program.signal(signal.SIGSTOP)
    mosquitto_pub(mqtt_address, topic, lines(sent[BURST // 2 :]), lines=True)
    program.signal(signal.SIGCONT)
    until(lambda: program.metrics()[f"actions kafka:{topics}decisions"] >= BURST, lambda: str(program.metrics()))
    found = decided(kafka_address, topics)
    assert ids(found) == Counter(f"burst-{at}" for at in range(BURST))
    assert all(numbers == sorted(numbers) for numbers in first_in_order(found).values())
    assert program.stop() == 0, program.tail()
