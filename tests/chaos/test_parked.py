"""A key for which nothing succeeds, with a tenth of the traffic: all others flow, and it follows, whole and in order.

A minute of it at 10,000 events a second is a benchmark: `python -m benchmarks parked`.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import confluent_kafka as ck
import msgspec
import pytest

from tests.application.foreign import make_topic
from tests.application.process import Process, until
from tests.chaos.parking import HOT, Step

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PARKING = Path(__file__).parent / "parking.py"
EVENTS = 20_000
ONE_IN = 10
PARTITIONS = 4
HELD = 12_000
"""Events that may wait in memory: 10,000, and what was in hand when they were that many."""


class Reader:
    """The ids that have come out, by key, as often and in the order as they came."""

    def __init__(self, address: str, topic: str) -> None:
        self.keys: dict[str, list[int]] = defaultdict(list)
        self._consumer = ck.Consumer(
            {
                "bootstrap.servers": address,
                "group.id": "reader",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
            }
        )
        self._consumer.assign([ck.TopicPartition(topic, 0, 0)])

    def read(self) -> int:
        """Take what is there; how many distinct events have come of other keys."""
        for message in self._consumer.consume(10_000, 0.05):
            assert message.error() is None, message.error()
            step = msgspec.json.decode(message.value() or b"", type=Step)
            self.keys[step.key].append(int(step.id))
        return sum(len(set(ids)) for key, ids in self.keys.items() if key != HOT)

    def close(self) -> None:
        self._consumer.close()


@pytest.mark.parametrize("client", ["confluent", "kafka-python"])
def test_one_key_waits_and_the_others_flow(client: str, tmp_path: Path, settings: dict[str, str], topics: str) -> None:
    address, broken = settings["PENSTOCK_KAFKA"], tmp_path / "broken"
    broken.touch()
    variables = {**settings, "PENSTOCK_KAFKA_CLIENT": client, "PARKING_BROKEN": str(broken)}
    make_topic(address, f"{topics}in", partitions=PARTITIONS)
    make_topic(address, f"{topics}out")
    producer, sent = ck.Producer({"bootstrap.servers": address}), defaultdict(list)
    for number in range(EVENTS):
        key = f"k{number % 997}" if number % ONE_IN else HOT
        producer.produce(f"{topics}in", msgspec.json.encode(Step(str(number), key)), key)
        producer.poll(0)
        sent[key].append(number)
    assert producer.flush(60) == 0
    hot = len(sent[HOT])
    reader = Reader(address, f"{topics}out")
    with Process(tmp_path, variables, PARKING) as program:
        program.start()
        until(lambda: reader.read() == EVENTS - hot, lambda: f"the others flow\n{program.tail()}")
        until(lambda: program.metrics()["spilled"] >= hot / 2, "what waits is in the store")
        assert HOT not in reader.keys
        assert program.metrics()["parked"] <= HELD
        broken.unlink()
        until(lambda: reader.read() and len(set(reader.keys[HOT])) == hot, lambda: f"it follows\n{program.tail()}")
        assert program.metrics()["dead_letters"] == 0
        assert program.stop() == 0, program.tail()
    reader.close()
    assert {key: list(dict.fromkeys(ids)) for key, ids in reader.keys.items()} == sent, "in the order of each key"


def test_keys_that_are_set_aside_outlive_the_process(tmp_path: Path, settings: dict[str, str], topics: str) -> None:
    """Killed and started twice, all of it with a key that waits."""
    address, broken = settings["PENSTOCK_KAFKA"], tmp_path / "broken"
    broken.touch()
    make_topic(address, f"{topics}in")
    make_topic(address, f"{topics}out")
    producer, sent = ck.Producer({"bootstrap.servers": address}), defaultdict(list)

    def put(first: int, hot: int, others: int) -> None:
        for number in range(first, first + hot + others):
            key = HOT if number < first + hot else f"k{number % 7}"
            producer.produce(f"{topics}in", msgspec.json.encode(Step(str(number), key)), key)
            sent[key].append(number)
        assert producer.flush(60) == 0

    def others() -> int:
        return sum(len(ids) for key, ids in sent.items() if key != HOT)

    reader = Reader(address, f"{topics}out")
    with Process(tmp_path, {**settings, "PARKING_BROKEN": str(broken)}, PARKING) as program:
        program.start()
        put(0, 1_500, 50)
        until(lambda: program.metrics()["spilled"] > 1_000, lambda: str(program.metrics()))
        until(lambda: reader.read() == others(), program.tail)
        program.kill()
        put(2_000, 10, 50)
        program.start()
        until(lambda: program.metrics()["spilled"] > 1_000, lambda: str(program.metrics()))
        until(lambda: reader.read() == others(), program.tail)
        program.kill()
        put(3_000, 10, 50)
        program.start()
        until(lambda: reader.read() == others(), program.tail)
        assert HOT not in reader.keys
        broken.unlink()
        until(lambda: reader.read() and len(set(reader.keys[HOT])) == 1_520, program.tail)
        until(lambda: program.metrics()["spilled"] == 0, program.tail)
        assert program.metrics()["dead_letters"] == 0
        assert program.stop() == 0, program.tail()
    reader.close()
    assert {key: list(dict.fromkeys(ids)) for key, ids in reader.keys.items()} == sent, "in the order of each key"
