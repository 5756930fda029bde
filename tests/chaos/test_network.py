"""Connections that are cut, delayed, throttled and held up, to every server at once."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from random import Random
from urllib.parse import urlsplit

import pytest

from tests.application.process import Process
from tests.chaos.trial import Trial
from tests.servers import Kafka
from tests.servers.port import HOST, free_port
from tests.servers.proxy import Proxy

pytestmark = pytest.mark.slow

SECONDS = 20 if "DEATHS" not in os.environ else 200


class FarKafka(Kafka):
    """A broker that sends its clients to a proxy; `direct` is for those that are not to go there."""

    def __init__(self) -> None:
        super().__init__()
        self.direct = free_port()
        self.proxy = Proxy(self.port)
        self.settings |= {
            "listeners": f"PLAINTEXT://{HOST}:{self.port},CONTROLLER://{HOST}:{self.controller_port},"
            f"DIRECT://{HOST}:{self.direct}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{self.proxy.port},DIRECT://{HOST}:{self.direct}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,DIRECT:PLAINTEXT",
            "inter.broker.listener.name": "DIRECT",
        }


@pytest.fixture
def far_kafka() -> Iterator[FarKafka]:
    """A broker behind a proxy."""
    with FarKafka() as server, server.proxy:
        yield server


@pytest.mark.parametrize("client", ["confluent", "kafka-python"])
@pytest.mark.timeout(600 + 2 * SECONDS)
def test_a_bad_network(
    client: str,
    program: Process,
    topics: str,
    far_kafka: FarKafka,
    mqtt_address: str,
    redis_address: str,
    seed: int,
) -> None:
    random = Random(seed)
    with ExitStack() as stack:
        proxies = [far_kafka.proxy]
        for name, address in (("PENSTOCK_MQTT", mqtt_address), ("PENSTOCK_STORE", redis_address)):
            parts = urlsplit(address)
            proxies.append(stack.enter_context(Proxy(parts.port or 0)))
            program.variables[name] = parts._replace(netloc=f"{HOST}:{proxies[-1].port}").geturl()
        program.variables |= {
            "PENSTOCK_KAFKA": f"{HOST}:{far_kafka.proxy.port}",
            "PENSTOCK_KAFKA_CLIENT": client,
        }
        direct = f"{HOST}:{far_kafka.direct}"
        trial = stack.enter_context(Trial(program, topics, seed, kafka=direct, mqtt=mqtt_address, redis=redis_address))
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            bad(random.choice(proxies), random)
            time.sleep(random.random() * 1.5)
        for proxy in proxies:
            proxy.release()
        trial.come_further()
        trial.finish()


def bad(proxy: Proxy, random: Random) -> None:
    """One thing that networks do; some of them at once."""
    match random.randrange(7):
        case 0 | 1:
            proxy.cut()
        case 2:
            proxy.delay = random.choice((0.01, 0.2))
        case 3:
            proxy.rate = 20_000
        case 4:
            proxy.hold()
        case 5:
            proxy.open = False
            proxy.cut()
        case _:
            proxy.release()
    if random.random() < 0.5:
        time.sleep(random.random())
        proxy.release()
