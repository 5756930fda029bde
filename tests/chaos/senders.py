"""Senders that are not ours: each sends events through its door, a wave every so often, until it is told to stop."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Sequence
from functools import partial
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit
from zlib import crc32

import msgspec
import paho.mqtt.client as paho
import redis
from confluent_kafka import Producer
from paho.mqtt.enums import CallbackAPIVersion

from tests.application.foreign import mosquitto_pub
from tests.chaos.tally import Step

KEYS = 12
SHOPS = 20
PARTITIONS = 4
"""Of the topic that the Kafka door reads."""

OWN = 3
"""Keys of each of these partitions."""


class Sender(Thread):
    """Events `door-0` ... of a dozen keys. `sent` are those that the other side has confirmed to have.

    Past `enough` of them it all but rests, so that a slow machine has no more to do than a fast one.
    """

    door = ""
    size = 20
    pause = 0.2
    rest = 3.0

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.sent: list[Step] = []
        self.enough = 10**9
        self.failure: BaseException | None = None
        self._end = Event()

    def wave(self, steps: Sequence[Step]) -> None:
        """Send these, and return when they are confirmed."""
        raise NotImplementedError

    def keys(self) -> Sequence[int]:
        """The keys of the next wave."""
        return [at % KEYS for at in range(self.size)]

    def run(self) -> None:
        try:
            while not self._end.wait(self.pause if len(self.sent) < self.enough else self.rest):
                start = len(self.sent)
                steps = [
                    Step(f"{self.door}-{start + at}", f"{self.door}-{key}", (start + at) % SHOPS)
                    for at, key in enumerate(self.keys())
                ]
                self.wave(steps)
                self.sent += steps
        except BaseException as error:
            self.failure = error

    def stop(self) -> None:
        """Send no more. Raises what has ended it before."""
        self._end.set()
        self.join()
        if self.failure is not None:
            raise self.failure

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        if error is None:
            self.stop()


class ThroughKafka(Sender):
    """An idempotent producer, to one partition after the other; each has keys of its own."""

    door = "kafka"

    def __init__(self, address: str, topic: str, partitions: int = PARTITIONS) -> None:
        super().__init__()
        self.client = Producer({"bootstrap.servers": address, "enable.idempotence": True, "log_level": 0})
        self.topic, self.partitions = topic, partitions
        self._next = 0

    def keys(self) -> Sequence[int]:
        first = self._next % self.partitions * OWN
        return [first + at % OWN for at in range(self.size)]

    def encode(self, step: Step) -> bytes:
        """An event as it is sent."""
        return msgspec.json.encode(step)

    def wave(self, steps: Sequence[Step]) -> None:
        self.client.list_topics(self.topic, timeout=180)  # a partition that was added is found at once
        failures: list[object] = []
        for step in steps:
            self.client.produce(
                self.topic,
                self.encode(step),
                step.key,
                self._next % self.partitions,
                on_delivery=lambda error, _: failures.append(error) if error is not None else None,
            )
        assert self.client.flush(180) == 0 and not failures, failures[:1]
        self._next += 1


class ThroughMqtt(Sender):
    """mosquitto_pub, which is started again with the same events when the broker went away."""

    door = "mqtt"

    def __init__(self, address: str, topic: str) -> None:
        super().__init__()
        self.address, self.topic = address, topic

    def wave(self, steps: Sequence[Step]) -> None:
        payload = b"".join(msgspec.json.encode(step) + b"\n" for step in steps)
        insist(lambda: mosquitto_pub(self.address, self.topic, payload, lines=True), AssertionError)


class ThroughMqtt5(Sender):
    """A client that reads what the broker answers: what nobody has subscribed to was taken by nobody."""

    door = "mqtt"

    def __init__(self, address: str, topic: str) -> None:
        super().__init__()
        self.at, self.topic = urlsplit(address), topic

    def wave(self, steps: Sequence[Step]) -> None:
        left = {step.id: step for step in steps}
        insist(lambda: self._publish(left), OSError, Busy)

    def _publish(self, left: dict[str, Step]) -> None:
        """Publish these, and take out those that somebody has subscribed to. Raises `Busy` for the others."""
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        sent: dict[int, str] = {}

        def answered(_: Any, __: Any, mid: int, reason: Any, ___: Any) -> None:
            if reason.value == 0:
                left.pop(sent.pop(mid))
            else:
                sent.pop(mid)

        client.on_publish = answered
        client.connect(str(self.at.hostname), self.at.port or 1883)
        for step in list(left.values()):
            sent[client.publish(self.topic, msgspec.json.encode(step), 1).mid] = step.id
        while sent and client.loop(1.0) == paho.MQTT_ERR_SUCCESS:
            pass
        client.disconnect()
        if left:
            raise Busy(f"{len(left)} were not taken")


class ThroughRedis(Sender):
    """redis-py, to the partition of each key."""

    door = "redis"

    def __init__(self, address: str, stream: str, partitions: int = 2) -> None:
        super().__init__()
        self.client = redis.Redis.from_url(address, retry=None)
        self.stream, self.partitions = stream, partitions

    def wave(self, steps: Sequence[Step]) -> None:
        for step in steps:
            insist(partial(self._add, step), redis.RedisError)

    def _add(self, step: Step) -> None:
        """With an id that is used once: an entry whose answer was lost is not added again."""
        key = f"{self.stream}:{crc32(step.key.encode()) % self.partitions}"
        fields: dict[Any, Any] = {"data": msgspec.json.encode(step), "key": step.key}
        try:
            self.client.xadd(key, fields, id=f"{int(step.id.rpartition('-')[2]) + 1}-0")
        except redis.ResponseError as error:
            if "equal or smaller" not in str(error):
                raise


class ThroughHttp(Sender):
    """A client that asks again until it is answered that all is done; each key's events one after the other."""

    door = "http"
    size = 4
    pause = 0.05

    def __init__(self, listen: str, path: str = "/in") -> None:
        super().__init__()
        self.at, self.path = urlsplit(f"http://{listen}"), path

    def wave(self, steps: Sequence[Step]) -> None:
        for step in steps:
            insist(partial(self._post, step), OSError, http.client.HTTPException, Busy)

    def _post(self, step: Step) -> None:
        connection = http.client.HTTPConnection(str(self.at.hostname), self.at.port, timeout=10)
        try:
            connection.request("POST", self.path, msgspec.json.encode(step), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
            if answer.status in (429, 503):
                raise Busy(said)
            assert answer.status in (200, 202), (answer.status, said)
        finally:
            connection.close()


class Busy(Exception):
    """429 or 503: to be sent again."""


def insist(send: Callable[[], object], *failures: type[BaseException], patience: float = 180.0) -> None:
    """Send until it succeeds. Raises the last of these failures after `patience` seconds."""
    deadline = time.monotonic() + patience
    while True:
        try:
            send()
        except failures:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
