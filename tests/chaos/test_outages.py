"""Servers that stop, freeze, fill up, are replaced, and topics that change, while events come through every door."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
import redis
from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic

from tests.application.process import Process, until
from tests.chaos.conftest import TALLY
from tests.chaos.senders import PARTITIONS, ThroughKafka, ThroughMqtt5
from tests.chaos.trial import PATIENCE, Trial
from tests.servers import Kafka, Mosquitto, Redis
from tests.servers.port import HOST
from tests.servers.proxy import Proxy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

AWAY = 2.0
"""Seconds that a server is away."""

FROZEN = 10.0

COMINGS = 8 if "DEATHS" not in os.environ else 80
"""How often one of the consumers comes or goes."""


@pytest.fixture(scope="module")
def broker() -> Iterator[Kafka]:
    """A Kafka that these tests alone use. One that was stopped is to be believed gone soon."""
    settings = {
        "broker.session.timeout.ms": "2000",
        "broker.heartbeat.interval.ms": "500",
        # Whoever asks first for a topic that was deleted makes it.
        "num.partitions": str(PARTITIONS),
    }
    with Kafka(settings) as server:
        yield server


@pytest.mark.parametrize("client", ["confluent", "kafka-python"])
def test_the_broker_is_stopped_and_started(
    client: str, program: Process, topics: str, broker: Kafka, seed: int
) -> None:
    program.variables |= {"PENSTOCK_KAFKA": broker.address, "PENSTOCK_KAFKA_CLIENT": client}
    with trial(program, topics, seed) as tried:
        tried.come_further()
        broker.stop()
        time.sleep(AWAY)
        broker.start()
        tried.come_further()
        tried.finish()


def stopped(server: Redis) -> None:
    """Stopped in order, and started again."""
    server.stop()
    time.sleep(AWAY)
    server.start()


def killed(server: Redis) -> None:
    """Ended as `kill -9` does: what it had answered is with the operating system."""
    server.kill()
    time.sleep(AWAY)
    server.start()


def frozen(server: Redis) -> None:
    """Connections stay, and nothing answers."""
    server.pause()
    time.sleep(FROZEN)
    server.resume()


def full(server: Redis) -> None:
    """Takes nothing more, and evicts nothing."""
    with redis.Redis.from_url(server.address) as client:
        client.config_set("maxmemory", 1)
        time.sleep(2 * AWAY)
        client.config_set("maxmemory", 0)


@pytest.mark.parametrize("breaks", [stopped, killed, frozen, full])
def test_the_store_is(
    breaks: Callable[[Redis], None], program: Process, topics: str, own_redis: Redis, seed: int
) -> None:
    program.variables["PENSTOCK_STORE"] = own_redis.address
    with trial(program, topics, seed) as tried:
        tried.come_further()
        breaks(own_redis)
        tried.come_further()
        tried.finish()


def test_the_store_is_replaced_by_its_replica(program: Process, topics: str, own_redis: Redis, seed: int) -> None:
    with Redis({"replicaof": f"{HOST} {own_redis.port}"}) as replica, Proxy(own_redis.port) as proxy:
        address = f"redis://{HOST}:{proxy.port}/0"
        program.variables["PENSTOCK_STORE"] = address
        with trial(program, topics, seed) as tried:
            tried.come_further()
            proxy.hold()
            until(lambda: replicated(own_redis) == replicated(replica), "the replica has everything", patience=PATIENCE)
            with redis.Redis.from_url(replica.address) as client:
                client.replicaof("NO", "ONE")
            own_redis.stop()
            proxy.to = replica.port
            proxy.cut()
            proxy.release()
            tried.come_further()
            tried.finish()


def replicated(server: Redis) -> int:
    """How far the stream of replication has come there."""
    with redis.Redis.from_url(server.address) as client:
        found: Any = client.info("replication")
        return int(found.get("slave_repl_offset", found["master_repl_offset"]))


def test_mosquitto_is_restarted(program: Process, topics: str, own_mosquitto: Mosquitto, seed: int) -> None:
    program.variables["PENSTOCK_MQTT"] = own_mosquitto.address
    with trial(program, topics, seed) as tried:
        tried.come_further()
        # One that is killed forgets what it has acknowledged since it last saved; that is not ours to keep.
        own_mosquitto.stop()
        time.sleep(AWAY)
        own_mosquitto.start()
        tried.come_further()
        tried.finish()


def test_mosquitto_is_restarted_and_forgets_who_shares(
    program: Process, topics: str, own_mosquitto: Mosquitto, seed: int
) -> None:
    """It keeps the sessions of two workers with what waits there, and forgets that they share a subscription: what is
    published before they have told it again has no subscriber, and the publisher is told so."""
    program.variables |= {"PENSTOCK_MQTT": own_mosquitto.address, "PENSTOCK_WORKERS": "2"}
    with trial(program, topics, seed, doors=("kafka",)) as tried:
        tried.begin(ThroughMqtt5(own_mosquitto.address, f"{topics}in/all"))
        for _ in range(3):
            tried.come_further(200)
            own_mosquitto.stop()
            own_mosquitto.start()
        tried.come_further(200)
        tried.finish(ordered=("kafka",))


@pytest.mark.timeout(600 + 30 * COMINGS)
def test_consumers_come_and_go(program: Process, topics: str, tmp_path: Path, seed: int) -> None:
    """Three processes, of which one is stopped or started every other second."""
    random = Random(seed)
    program.variables["TALLY_DOORS"] = "kafka redis"
    with ExitStack() as stack:
        others: list[Process] = []
        for name in ("second", "third"):
            (tmp_path / name).mkdir()
            variables = dict(program.variables)
            del variables["PENSTOCK_HTTP_LISTEN"], variables["PENSTOCK_ADMIN_LISTEN"]
            others.append(stack.enter_context(Process(tmp_path / name, variables, TALLY)))
        tried = stack.enter_context(trial(program, topics, seed, doors=("kafka", "redis")))
        for _ in range(COMINGS):
            one = random.choice(others)
            if one.running:
                assert one.stop() == 0, one.tail()
            else:
                one.start()
            time.sleep(random.random() * 2)
        for one in others:
            one.kill()
        tried.finish(ordered=("kafka", "redis"))


@pytest.mark.parametrize("client", ["confluent", "kafka-python"])
def test_partitions_are_added(client: str, program: Process, topics: str, broker: Kafka, seed: int) -> None:
    settings(program, broker, client)
    with trial(program, topics, seed) as tried:
        tried.come_further()
        admin = AdminClient({"bootstrap.servers": broker.address})
        admin.create_partitions([NewPartitions(f"{topics}in", PARTITIONS + 2)])[f"{topics}in"].result(30)
        kafka = tried.senders[0]
        assert isinstance(kafka, ThroughKafka)
        kafka.partitions = PARTITIONS + 2
        tried.come_further(400)
        tried.finish()


@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "while it is away"])
@pytest.mark.parametrize("client", ["confluent", "kafka-python"])
def test_a_topic_is_deleted_and_made_again(
    client: str, running: bool, program: Process, topics: str, broker: Kafka, seed: int
) -> None:
    """Of what is sent to the new one nothing is left out, though its offsets were there."""
    settings(program, broker, client)
    with trial(program, topics, seed) as tried:
        tried.come_further(200)
        for sender in tried.senders[: 1 if running else None]:
            sender.stop()
        until(lambda: not tried.ledger.missing(tried.senders[0].sent), lambda: str(tried.missing()), patience=PATIENCE)
        if not running:
            until(lambda: not tried.missing(), lambda: str(tried.missing()), patience=PATIENCE)
            assert program.stop() == 0, program.tail()
        made_again(broker.address, f"{topics}in")
        again = ThroughKafka(broker.address, f"{topics}in")
        again.door = "again"
        tried.begin(again)
        if not running:
            program.start()
        tried.come_further(400)
        tried.finish()


def settings(program: Process, broker: Kafka, client: str) -> None:
    """Have the program read there, by this client, and look often for what has become of the topic."""
    program.variables |= {
        "PENSTOCK_KAFKA": broker.address,
        "PENSTOCK_KAFKA_CLIENT": client,
        "PENSTOCK_KAFKA_METADATA_INTERVAL": "1s",
    }


def made_again(address: str, topic: str) -> None:
    """Delete a topic, and wait until there is another one of its name."""
    admin = AdminClient({"bootstrap.servers": address})
    before = identity(admin, topic)
    admin.delete_topics([topic])[topic].result(30)

    def made() -> bool:
        with suppress(KafkaException):  # it is there already: its reader has asked for it
            admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(30)
        return identity(admin, topic) not in ("", before)

    until(made, f"{topic} is another")


def identity(admin: AdminClient, topic: str) -> str:
    """A topic's lasting id; empty where there is none."""
    try:
        return str(admin.describe_topics(TopicCollection([topic]))[topic].result(30).topic_id)
    except KafkaException:
        return ""


def trial(program: Process, topics: str, seed: int, doors: tuple[str, ...] = ()) -> Trial:
    """A trial whose senders find the servers where the program does."""
    settings = program.variables
    kafka, mqtt, store = settings["PENSTOCK_KAFKA"], settings["PENSTOCK_MQTT"], settings["PENSTOCK_STORE"]
    return Trial(program, topics, seed, kafka=kafka, mqtt=mqtt, redis=store, doors=doors)
