"""The documentation's program against real servers: everything in has its outcome, each id once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from penstock.pipeline.letters.letters import Letter
from tests.application.conftest import Cards
from tests.application.foreign import curl, kcat_produce, make_topic, mosquitto_pub
from tests.application.inputs import LARGE, through_http, through_kafka, through_mqtt
from tests.application.ledger import decided, ids, payment, payments
from tests.application.process import Process, command, lines, until

pytestmark = pytest.mark.slow

CLIENTS = ["confluent", pytest.param("kafka-python", marks=pytest.mark.slow)]


@pytest.fixture(params=CLIENTS)
def program(request: pytest.FixtureRequest, tmp_path: Path, variables: dict[str, str]) -> Iterator[Process]:
    """The program, not started yet."""
    with Process(tmp_path, variables | {"PENSTOCK_KAFKA_CLIENT": request.param}) as process:
        yield process


def settled(program: Process) -> bool:
    """Whether nothing that came in waits for anything."""
    found = program.metrics()
    return found["in_flight"] == 0 == found["unconfirmed"] and not found["lag"]


def letters(program: Process, redis_address: str) -> list[Letter]:
    """The dead letters as the store has them."""
    name = f"penstock:{program.variables['PENSTOCK_NAMESPACE']}.card-fraud:dead"
    with redis.Redis.from_url(redis_address) as store:
        entries: Any = store.xrange(name)
    return [msgspec.json.decode(entry[b"letter"], type=Letter) for _, entry in entries]


def test_every_event_has_its_outcome(
    program: Process,
    cards: Cards,
    topics: str,
    tmp_path: Path,
    kafka_address: str,
    mqtt_address: str,
    redis_address: str,
) -> None:
    with redis.Redis.from_url(redis_address) as store:
        store.hset(f"card:{topics}known", mapping={"mean": "200"})
    make_topic(kafka_address, f"{topics}payments", partitions=2, largest=2 * LARGE)
    program.start()
    assert program.get("/healthz") == (200, "ok\n")
    doors = [through_kafka(kafka_address, topics), through_mqtt(mqtt_address, topics)]
    kcat_produce(kafka_address, f"{topics}payments", [one.encode() for one in payments("kafka", 300)])
    mosquitto_pub(mqtt_address, f"{topics}terminals/T-9/payments", lines(payments("mqtt", 300)), lines=True)
    doors.append(through_http(program.http, tmp_path))
    url = f"http://{program.http}/payments"
    answer = curl(tmp_path, url, payment("usual", f"{topics}known", 500.0).encode())
    assert (answer.status, json.loads(answer.body)["approved"], json.loads(answer.body)["mean"]) == (200, True, 200.0)
    answer = curl(tmp_path, url, payment("theft", "card-new", 500.0).encode())
    assert (answer.status, json.loads(answer.body)["approved"]) == (200, False)

    acted = Counter(f"{name}-{at}" for name in ("kafka", "mqtt") for at in range(300))
    acted.update(["usual", "theft", *(id for door in doors for id in door.acted)])
    dead = Counter(payload for door in doors for payload in door.dead)
    refused = sum(door.refused for door in doors)
    taken = 602 + sum(door.taken for door in doors)
    assert taken == acted.total() + dead.total() + refused + sum(door.filtered for door in doors)

    until(lambda: program.metrics()["events"] >= taken and settled(program), lambda: f"{taken} of {program.metrics()}")
    found = program.metrics()
    assert found["events"] == taken
    assert Counter(letter.payload for letter in letters(program, redis_address)) == dead
    assert found["dead_letters"] == dead.total()
    assert found["filtered decide"] == sum(door.filtered for door in doors)
    assert found[f"actions kafka:{topics}decisions"] == acted.total()
    assert ids(decided(kafka_address, topics)) == acted
    assert {"card": "card-new", "because_of": "theft"} in cards.blocked
    assert program.get("/readyz") == (200, "ready\n")
    shown = program.dead()
    assert len(shown) == dead.total()
    [rejected] = [one for one in shown if one.startswith("kafka-rejected/")]
    assert "no rate for the currency 'XXX'" in rejected
    shown_whole = ("dead", "show", rejected.split()[0], "--pipeline", program.pipeline)
    whole = command(*shown_whole, variables=program.variables, folder=tmp_path)
    assert payment("kafka-rejected", "c", currency="XXX") in whole
    assert "tests/application/fraud.py:" in whole
    assert program.stop() == 0, program.tail()
