"""Sends payments to a topic at a steady rate; with `answers`, also reads the decisions and tells their latency.

`python -m benchmarks.kafka_load JSON`. The load is open: a payment has a moment at which it is due, whether or not
earlier ones were answered, and its latency counts from then. What is due is sent every millisecond. Latencies are told
as percentiles, in milliseconds, of the payments after the first second.
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
from benchmarks.payments import payments
from benchmarks.topics import PARTITIONS


def send(address: str, topic: str, rate: float, seconds: float, began: float) -> int:
    """Send payment number n at `began + n / rate`; how many were sent."""
    # A request for each payment, as without lingering, would have the broker busy with the load rather than the work.
    producer = Producer({"bootstrap.servers": address, "linger.ms": 1, "queue.buffering.max.messages": 1_000_000})
    encode = msgspec.json.Encoder().encode
    some = payments(10_000)
    keys = [payment["card"].encode() for payment in some]
    number, count = 0, int(rate * seconds)
    while number < count:
        due = min(count, int((time.perf_counter() - began) * rate))
        while number < due:
            payment = some[number % len(some)]
            value = encode({**payment, "id": str(number)})
            producer.produce(topic, value, keys[number % len(some)])
            number += 1
        producer.poll(0)
        time.sleep(0.001)
    producer.flush()
    return number


class Answers(threading.Thread):
    """Reads decisions and notes when each arrived."""

    def __init__(self, address: str, topic: str, count: int) -> None:
        super().__init__(daemon=True)
        self.count = count
        self.arrived = array("d", bytes(8 * count))
        self.left = count
        self._consumer = Consumer(
            {"bootstrap.servers": address, "group.id": "answers", "fetch.wait.max.ms": 5, "enable.auto.commit": False}
        )
        self._consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])

    def run(self) -> None:
        read = msgspec.json.Decoder(_Answer).decode
        while self.left:
            message: Any = self._consumer.poll(0.1)
            if message is None or message.error():
                continue
            found = read(message.value())
            number = int(found.payment or found.id)
            if not self.arrived[number]:
                self.arrived[number] = time.perf_counter()
                self.left -= 1


class _Answer(msgspec.Struct):
    """A decision, or the payment itself where the same topic is read that was written to."""

    payment: str = ""
    id: str = ""


def main(address: str, topic: str, rate: float, seconds: float, answers: str = "") -> dict[str, Any]:
    """Send, and wait for the answers where there are any."""
    # What measures must not stop for itself: not to collect, and not for a thread that holds the interpreter lock.
    gc.disable()
    sys.setswitchinterval(0.0005)
    reader = Answers(address, answers, int(rate * seconds)) if answers else None
    if reader is not None:
        reader.start()
        time.sleep(1.0)
    began = time.perf_counter()
    sent = send(address, topic, rate, seconds, began)
    if reader is None:
        return {"sent": sent}
    reader.join(30)
    late = [
        1000 * (arrived - began - number / rate)
        for number, arrived in enumerate(reader.arrived)
        if arrived and number >= rate
    ]
    found = {f"p{share:g}": percentile(late, share / 100) for share in (50, 99, 99.9)}
    return {"sent": sent, "missing": reader.left, **found}


if __name__ == "__main__":
    print(json.dumps(main(**json.loads(sys.argv[1]))), flush=True)
