"""Malformed input through real servers and both clients of Kafka: each event has one outcome, exactly."""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from random import Random

import pytest
from confluent_kafka import Consumer, TopicPartition

from penstock import Pipeline, Retries
from penstock.connectors import Endpoint, Http, Kafka, Mqtt, Redis, Settings, Site
from penstock.connectors.http.server import http_server
from penstock.connectors.store.redis import RedisStore
from penstock.pipeline.engine.engine import Engine
from tests.application.foreign import make_topic
from tests.chaos.mutations import Mutations
from tests.chaos.strangers import flat, to_http, to_kafka, to_mqtt, to_redis
from tests.chaos.test_fuzz import Payment, decide, in_euros, of_worth
from tests.chaos.wire import publish, request
from tests.connectors.rig import until
from tests.servers.port import free_port

pytestmark = pytest.mark.slow
log = logging.getLogger("chaos")

EVENTS = int(os.environ.get("FUZZ_REAL", "600"))
"""Inputs for each of four doors."""

SEED = int(os.environ.get("FUZZ_SEED", "1")) or Random().getrandbits(32)


@pytest.mark.timeout(600 + EVENTS)
@pytest.mark.parametrize(("client", "sink"), [("confluent", "kafka"), ("kafka-python", "mqtt")])
async def test_whatever_strangers_send_has_one_outcome(
    client: str,
    sink: str,
    kafka_address: str,
    mqtt_address: str,
    redis_address: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "chaos")
    name = f"strangers-{uuid.uuid4().hex[:8]}"
    make_topic(kafka_address, name)
    make_topic(kafka_address, f"{name}-out")
    settings = Settings(
        {
            "PENSTOCK_KAFKA": kafka_address,
            "PENSTOCK_KAFKA_CLIENT": client,
            "PENSTOCK_MQTT": mqtt_address,
            "PENSTOCK_STORE": redis_address,
            "PENSTOCK_DURABILITY": "memory",
            "PENSTOCK_HTTP_LISTEN": f"127.0.0.1:{free_port()}",
        }
    )
    to: Endpoint = Kafka(f"{name}-out") if sink == "kafka" else Mqtt(f"{name}/out")
    made = Pipeline(name, retry=Retries(1))
    stream = made.source(
        Kafka(name, start="earliest"),
        Mqtt(f"{name}/{{terminal}}/payments"),
        Redis(name, partitions=1),
        Http("/payments/{terminal}", timeout="1h"),
        schema=Payment,
        key="card",
        id="id",
    )
    stream.transform(in_euros).filter(of_worth).act(decide, to=to)
    site = Site(settings, pipeline=name)
    engine = Engine(made.build(), site, RedisStore(site))
    await engine.start()

    supply = Mutations(SEED)
    random = supply.random
    records = [(random.choice((None, b"", b"card-1", b"\xff")), supply.record("ce_")) for _ in range(EVENTS)]
    packets = [publish(supply, number % 65_000 + 1, name.encode()) for number in range(EVENTS)]
    entries = [flat(supply.record("ce_")) for _ in range(EVENTS)]
    requests = [request(supply) for _ in range(EVENTS)]
    told, *taken = await asyncio.gather(
        to_http(http_server(site).address, requests),
        asyncio.to_thread(to_kafka, kafka_address, name, [(key, one.value, [*one.headers]) for key, one in records]),
        asyncio.to_thread(to_mqtt, mqtt_address, packets),
        asyncio.to_thread(to_redis, redis_address, f"{name}:0", entries),
    )

    def ended() -> bool:
        found = engine.statistics()
        waits = (found[what].values() for what in ("in_flight", "unconfirmed", "troubled"))
        return sum(found["events"].values()) >= sum(taken) and not any(map(sum, waits))

    await until(ended)
    found = engine.statistics()
    count = {what: int(sum(found[what].values())) for what in found}
    await engine.stop()

    events, refused = count["events"], count["refused"]
    wrong_place = told.problems[404] + told.problems[405]
    ends = f"{count['actions']} acted, {count['filtered']} filtered, {refused - told.letters} refused"
    said = f"{client}, {sink}, seed {SEED}: {taken} and {events - sum(taken)} in, {ends}, {count['dead_letters']} dead"
    said += f"; {vars(told)}, {count['turned_away']} turned away"
    assert events == count["actions"] + count["filtered"] + refused - told.letters + count["dead_letters"], said
    # What HTTP's senders were told is what became of their events.
    assert events - sum(taken) == told.accepted + refused, said
    assert told.problems.total() == refused - told.refused + count["turned_away"] + wrong_place, said
    assert not told.problems[500] and min(told.accepted, told.strange, *taken) > EVENTS // 20, said
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR], said
    if sink == "kafka":
        assert await asyncio.to_thread(_length, kafka_address, f"{name}-out") == count["actions"], said
    log.info(said)


def _length(address: str, topic: str) -> int:
    consumer = Consumer({"bootstrap.servers": address, "group.id": "nobody"})
    try:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), 60)
    finally:
        consumer.close()
    return int(high - low)
