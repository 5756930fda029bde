"""What a program does when it, or a server it needs, goes away and comes back: nothing is lost, nothing repeated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.application.foreign import kcat_produce, mosquitto_pub
from tests.application.ledger import decided, ids, payments
from tests.application.process import Process, lines, until
from tests.servers import Kafka, Mosquitto, Redis, Server

pytestmark = pytest.mark.slow


@pytest.fixture(params=["confluent", "kafka-python"])
def client(request: pytest.FixtureRequest) -> str:
    """The Kafka client."""
    return str(request.param)


@pytest.fixture
def program(tmp_path: Path, client: str, variables: dict[str, str]) -> Iterator[Process]:
    """The program, not started yet."""
    # A member that was killed counts as dead after so long; its partitions are not given away before.
    kafka = {"PENSTOCK_KAFKA_CLIENT": client, "PENSTOCK_KAFKA_SESSION_TIMEOUT": "4s"}
    with Process(tmp_path, variables | kafka) as process:
        yield process


def send(program: Process, topics: str, name: str, count: int) -> Counter[str]:
    """Payments through Kafka and MQTT; what is to be decided."""
    some = payments(f"{name}-kafka", count)
    kcat_produce(program.variables["PENSTOCK_KAFKA"], f"{topics}payments", [one.encode() for one in some])
    some = payments(f"{name}-mqtt", count)
    mosquitto_pub(program.variables["PENSTOCK_MQTT"], f"{topics}terminals/T-9/payments", lines(some), lines=True)
    return Counter(f"{name}-{door}-{at}" for door in ("kafka", "mqtt") for at in range(count))


def all_decided(program: Process, topics: str, expected: Counter[str]) -> Counter[str]:
    """Wait until every payment that was sent has been decided, and say how often each was."""
    found: Counter[str] = Counter()

    def there() -> bool:
        nonlocal found
        assert program.running, f"the program has ended:\n{program.tail()}"
        found = ids(decided(program.variables["PENSTOCK_KAFKA"], topics))
        return not expected - found

    until(
        there,
        lambda: f"missing {sorted(expected - found)[:20]} of {expected.total()}\n{program.metrics()}\n{program.tail()}",
    )
    assert not found.keys() - expected.keys()
    return found


def test_a_second_start_goes_on_where_the_first_stopped(program: Process, topics: str) -> None:
    """Stopped in the middle of its work, it finishes what runs, and never does it again."""
    program.variables |= {"FRAUD_WEATHER_SECONDS": "0.02", "FRAUD_SLOTS": "8"}
    program.start()
    expected = send(program, topics, "first", 600)
    assert program.stop() == 0, program.tail()
    before = ids(decided(program.variables["PENSTOCK_KAFKA"], topics))
    assert 0 < before.total() < expected.total()
    expected += send(program, topics, "away", 50)
    program.variables |= {"FRAUD_WEATHER_SECONDS": "0.001", "FRAUD_SLOTS": "256"}
    program.start()
    expected += send(program, topics, "second", 50)
    assert all_decided(program, topics, expected) == expected
    assert program.stop() == 0, program.tail()


def test_killed_and_started_again_nothing_is_lost(program: Process, topics: str) -> None:
    program.variables |= {"FRAUD_WEATHER_SECONDS": "0.02", "FRAUD_SLOTS": "8"}
    program.start()
    expected = send(program, topics, "one", 600)
    program.kill()
    program.start()
    program.kill()
    program.variables |= {"FRAUD_WEATHER_SECONDS": "0.001", "FRAUD_SLOTS": "256"}
    program.start()
    all_decided(program, topics, expected)
    assert program.stop() == 0, program.tail()


@pytest.mark.parametrize(
    ("client", "kind", "variable", "named"),
    [
        ("confluent", Kafka, "PENSTOCK_KAFKA", "kafka"),
        ("kafka-python", Kafka, "PENSTOCK_KAFKA", "kafka"),
        ("confluent", Mosquitto, "PENSTOCK_MQTT", "mqtt"),
        ("confluent", Redis, "PENSTOCK_STORE", "store"),
    ],
    ids=["kafka-confluent", "kafka-python", "mosquitto", "redis"],
)
def test_a_server_that_is_late_and_one_that_restarts(
    kind: type[Server], variable: str, named: str, program: Process, topics: str
) -> None:
    """It waits for a server that is down at its start, and goes on after one that went away in the middle."""
    # Another broker of the same name may register only once the killed one counts as gone.
    soon = {"broker.session.timeout.ms": "2000", "broker.heartbeat.interval.ms": "500"}
    with closing(kind(soon if kind is Kafka else None)) as server:
        program.variables[variable] = server.address
        program.start(wait=False)
        until(lambda: program.get("/readyz")[0] == 503 and named in program.get("/readyz")[1], program.tail)
        assert program.get("/healthz")[0] == 200
        assert program.running
        server.start()
        program.ready()
        expected = send(program, topics, "before", 200)
        # A Mosquitto that is killed forgets what it has acknowledged since it last saved; that is not ours to keep.
        server.stop() if kind is Mosquitto else server.kill()
        if kind is Redis:  # the doors stay open, and what comes in waits
            expected += send(program, topics, "during", 200)
        until(lambda: program.get("/readyz")[0] == 503 and named in program.get("/readyz")[1], program.tail)
        server.start()
        expected += send(program, topics, "after", 200)
        all_decided(program, topics, expected)
        program.ready()
        assert program.metrics()["dead_letters"] == 0
        assert program.stop() == 0, program.tail()
