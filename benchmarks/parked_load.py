"""Sends payments at a steady rate, one in ten of the hot card, and reads the decisions: `... parked_load JSON`.

A payment's latency counts from the moment at which it is due. Of each card the order of the first decisions is looked
at; its payments are in one partition. Percentiles are in milliseconds, of the payments of all other cards.
"""

from __future__ import annotations

import gc
import json
import sys
import threading
import time
from array import array
from typing import Any

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.measure import percentile
from benchmarks.parked_pipeline import HOT, Decision
from benchmarks.payments import payments
from benchmarks.topics import PARTITIONS

ONE_IN = 10
"""Payments of which one is of the hot card."""

PATIENCE = 60.0
"""Seconds without a decision after which those that are missing are lost."""


class Answers(threading.Thread):
    """Reads decisions: when each arrived, how many came again, and how many after a later one of their card."""

    def __init__(self, address: str, topic: str, count: int) -> None:
        super().__init__(daemon=True)
        self.arrived = array("d", bytes(8 * count))
        self.left, self.repeated, self.disorder = count, 0, 0
        self._last: dict[str, int] = {}
        config = {"bootstrap.servers": address, "group.id": "answers", "fetch.wait.max.ms": 5}
        self._consumer = Consumer({**config, "enable.auto.commit": False})
        self._consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])

    def run(self) -> None:
        read, last = msgspec.json.Decoder(Decision).decode, self._last
        while self.left:
            for message in self._consumer.consume(1000, 0.01):
                value = message.value()
                if value is None or message.error() is not None:
                    continue
                found = read(value)
                number = int(found.payment)
                if self.arrived[number]:
                    self.repeated += 1
                    continue
                self.arrived[number] = time.perf_counter()
                self.left -= 1
                if number < last.get(found.card, 0):
                    self.disorder += 1
                last[found.card] = number


def send(address: str, topic: str, rate: float, count: int, began: float) -> None:
    """Send payment number n at `began + n / rate`."""
    # Idempotent: on a busy machine, what is sent again must neither be there twice nor overtake.
    config = {"bootstrap.servers": address, "enable.idempotence": True, "linger.ms": 1}
    producer = Producer({**config, "queue.buffering.max.messages": 1_000_000})
    encode, some = msgspec.json.Encoder().encode, payments(9_999)
    number = 0
    while number < count:
        due = min(count, int((time.perf_counter() - began) * rate))
        while number < due:
            payment = some[number % len(some)]
            card = payment["card"] if number % ONE_IN else HOT
            producer.produce(topic, encode({**payment, "id": str(number), "card": card}), card)
            number += 1
        producer.poll(0)
        time.sleep(0.001)
    producer.flush()


def main(address: str, topic: str, answers: str, rate: float, calm: float, parked: float, after: float) -> Any:
    """Send before, while and after the card is parked, for so many seconds each; what came of it."""
    gc.disable()
    sys.setswitchinterval(0.0005)
    count = int(rate * (calm + parked + after))
    reader = Answers(address, answers, count)
    reader.start()
    time.sleep(1.0)
    began = time.perf_counter()
    send(address, topic, rate, count, began)
    left = count + 1
    while reader.left and reader.left < left:
        left = reader.left
        reader.join(PATIENCE)

    def late(start: float, end: float) -> list[float]:
        some = range(int(start * rate), int(end * rate))
        return [1000 * (reader.arrived[at] - began - at / rate) for at in some if at % ONE_IN and reader.arrived[at]]

    hot = [reader.arrived[at] - began for at in range(0, count, ONE_IN)]
    return {
        "sent": count,
        "lost": reader.left,
        "repeated": reader.repeated,
        "disorder": reader.disorder,
        "before": {f"p{share}": percentile(late(1.0, calm), share / 100) for share in (50, 99)},
        "while": {f"p{share}": percentile(late(calm, calm + parked), share / 100) for share in (50, 99)},
        # From the end of what failed to the last decision about what had gathered.
        "caught_up": max(hot[int(calm * rate) // ONE_IN : int((calm + parked) * rate) // ONE_IN]) - calm - parked,
    }


if __name__ == "__main__":
    print(json.dumps(main(**json.loads(sys.argv[1]))), flush=True)
