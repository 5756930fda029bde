"""Events that end the process which runs them: each is found and kept, and nothing else is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import uuid
from collections import Counter
from pathlib import Path
from zlib import crc32

import confluent_kafka as ck
import psutil
import pytest

from tests.application.foreign import kcat_produce, make_topic
from tests.pipeline.process import Running, post, run

APP = """
import asyncio
import ctypes
import os

from msgspec import Struct
from penstock import Pipeline
from penstock.connectors import Http, Kafka, Reply


class Order(Struct, frozen=True):
    id: str
    customer: str


def ruin(order: Order) -> Order:
    if order.id.startswith("exit"):
        os._exit(0)
    if order.id.startswith("crash"):
        ctypes.string_at(0)
    return order


async def rest(order: Order) -> Order:
    await asyncio.sleep(0.001)
    return order


def confirm(order: Order) -> Order:
    return order


loop = Pipeline("TOPIC")
loop.source(Kafka("TOPIC", start="earliest"), schema=Order, key="customer", id="id").transform(ruin).act(
    confirm, to=Kafka("TOPIC-confirmed")
)
slot = Pipeline("TOPIC")
slot.source(Kafka("TOPIC", start="earliest"), schema=Order, key="customer", id="id").transform(rest).transform(
    ruin
).act(confirm, to=Kafka("TOPIC-confirmed"))
http = Pipeline("TOPIC")
http.source(Http("/orders"), schema=Order, key="customer", id="id").transform(ruin).act(confirm, to=Reply())
"""


@pytest.fixture
def topic(tmp_path: Path) -> str:
    """A topic that no other test has, and an app that reads it."""
    name = f"ruin-{uuid.uuid4().hex[:8]}"
    (tmp_path / "app.py").write_text(APP.replace("TOPIC", name))
    return name


def order(name: str) -> bytes:
    return json.dumps({"id": name, "customer": f"c{crc32(name.encode()) % 40}"}).encode()


def settings(kafka_address: str, redis_address: str, workers: int) -> dict[str, str]:
    return {
        "PENSTOCK_KAFKA": kafka_address,
        # A member that died is known to be dead after so long; its partitions are not given away before.
        "PENSTOCK_KAFKA_SESSION_TIMEOUT": "3s",
        "PENSTOCK_STORE": redis_address,
        "PENSTOCK_WORKERS": str(workers),
    }


def confirmed(address: str, topic: str) -> Counter[str]:
    """The ids of all that was acted on, and how often each."""
    consumer = ck.Consumer(
        {
            "bootstrap.servers": address,
            "group.id": "ledger",
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )
    found: Counter[str] = Counter()
    try:
        consumer.assign([ck.TopicPartition(f"{topic}-confirmed", 0, 0)])
        while (message := consumer.poll(10)) is not None and message.error() is None:
            found[json.loads(message.value() or b"")["id"]] += 1
    finally:
        consumer.close()
    return found


def kept(text: str) -> set[str]:
    """The ids of the letters that a program said it keeps.

    The same one may be said twice: the next killer may end the process before what was kept is committed.
    """
    return set(re.findall(r"is kept as dead letter (\S+):", text))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("app", "workers", "poison"),
    [("loop", 1, ["crash"]), ("slot", 1, ["exit"]), ("slot", 2, ["exit", "crash"])],
)
def test_an_event_that_ends_its_process_becomes_a_dead_letter(
    tmp_path: Path, topic: str, kafka_address: str, redis_address: str, app: str, workers: int, poison: list[str]
) -> None:
    make_topic(kafka_address, topic, partitions=2)
    make_topic(kafka_address, f"{topic}-confirmed", partitions=1)
    good = [f"o{number}" for number in range(600)]
    names = [*good[:250], *poison, *good[250:]]
    kcat_produce(kafka_address, topic, [order(name) for name in names])
    chosen = settings(kafka_address, redis_address, workers)
    with Running("run", f"app:{app}", folder=tmp_path, settings=chosen) as running:
        running.until(lambda: len(kept(running.text)) == len(poison), "dead letters")
        running.until(lambda: not set(good) - confirmed(kafka_address, topic).keys(), "all others")
        # What was in flight at a death may be acted on again; what is dead never is.
        assert set(confirmed(kafka_address, topic)) == set(good)
        kcat_produce(kafka_address, topic, [order("later")])
        running.until(lambda: "later" in confirmed(kafka_address, topic), "what comes later")
        assert running.stop() == 0
    dead = run("dead", "list", "-p", topic, "--no-group", "--error", "Deadly", folder=tmp_path, settings=chosen)
    letters = dead.stdout.splitlines()[1:]
    assert all("each of the 2 times that it ran alone" in letter for letter in letters)
    payloads = [
        run("dead", "show", "-p", topic, letter.split()[0], "--payload", folder=tmp_path, settings=chosen).stdout
        for letter in letters
    ]
    assert sorted(payloads) == sorted(order(name).decode() for name in poison)


@pytest.mark.slow
def test_a_sender_that_waits_is_told(tmp_path: Path, topic: str, kafka_address: str, redis_address: str) -> None:
    chosen = settings(kafka_address, redis_address, 1)
    with Running("run", "app:http", folder=tmp_path, settings=chosen) as running:
        answers: list[int] = []

        def refused() -> bool:
            running.ready()
            answers.append(post(running.url("/orders"), order("crash").decode())[0])
            return answers[-1] == 422

        running.until(refused, "a refusal")
        # Nobody watched, alone, alone again: three deaths, and a port that is not there for a moment after each.
        assert set(answers) == {0, 422}
        assert running.text.count("ended (SIGSEGV)") == 3
        assert post(running.url("/orders"), order("o1").decode())[0] == 200
        assert running.stop() == 0


@pytest.mark.slow
def test_who_kills_a_worker_from_outside_accuses_nobody(
    tmp_path: Path, topic: str, kafka_address: str, redis_address: str
) -> None:
    make_topic(kafka_address, topic, partitions=2)
    make_topic(kafka_address, f"{topic}-confirmed", partitions=1)
    chosen = settings(kafka_address, redis_address, 1)
    sent: list[str] = []
    with Running("run", "app:slot", folder=tmp_path, settings=chosen) as running:
        for wave in range(3):
            running.ready()
            names = [f"o{wave}-{number}" for number in range(100)]
            kcat_produce(kafka_address, topic, [order(name) for name in names])
            sent += names
            [child] = psutil.Process(running.process.pid).children()
            os.kill(child.pid, signal.SIGKILL)
            running.until(lambda wave=wave: running.text.count("ended (SIGKILL)") == wave + 1, "a death")  # type: ignore[misc]
        running.until(lambda: not set(sent) - confirmed(kafka_address, topic).keys(), "all of them")
        assert "written down" not in running.text
        assert "dead letter" not in running.text
        assert running.stop() == 0
