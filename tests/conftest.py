"""Addresses of real servers. Each is started when the first test asks for it, and lives until the last has run.

`PENSTOCK_TEST_KAFKA`, `PENSTOCK_TEST_MQTT`, `PENSTOCK_TEST_REDIS` and `PENSTOCK_TEST_VALKEY` name running servers to
use instead. Tests share these servers: they name their topics and keys so that no other test has them. A test
that stops its server takes one of its own (`own_kafka` and its kin).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import Kafka, Mosquitto, Redis, Server, Valkey, tools

# Hypothesis' own limits of time tell how busy the machine is. On a build server (CI) the examples are always the same.
settings.register_profile(
    "penstock",
    settings.get_profile("ci" if os.environ.get("CI") else "default"),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("penstock")


def pytest_configure(config: pytest.Config) -> None:
    """Let whoever waits for a download see that there is one."""
    capture: Any = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        tools.uncaptured = capture.global_and_fixture_disabled


@contextmanager
def _address(variable: str, make: type[Server]) -> Iterator[str]:
    given = os.environ.get(variable)
    if given:
        yield given
        return
    with make() as server:
        yield server.address


@pytest.fixture(scope="session")
def kafka_address() -> Iterator[str]:
    """Bootstrap servers of a Kafka that makes topics on first use, for example `127.0.0.1:19092`."""
    with _address("PENSTOCK_TEST_KAFKA", Kafka) as address:
        yield address


@pytest.fixture(scope="session")
def mqtt_address() -> Iterator[str]:
    """The URL of a Mosquitto, for example `mqtt://127.0.0.1:11883`."""
    with _address("PENSTOCK_TEST_MQTT", Mosquitto) as address:
        yield address


@pytest.fixture(scope="session")
def redis_address() -> Iterator[str]:
    """The URL of a Redis, for example `redis://127.0.0.1:16379/0`."""
    with _address("PENSTOCK_TEST_REDIS", Redis) as address:
        yield address


@pytest.fixture(scope="session")
def valkey_address() -> Iterator[str]:
    """The URL of a Valkey, for example `redis://127.0.0.1:16379/0`."""
    with _address("PENSTOCK_TEST_VALKEY", Valkey) as address:
        yield address


@pytest.fixture
def own_kafka() -> Iterator[Kafka]:
    """A running Kafka that no other test uses, to be stopped, killed and started again."""
    with Kafka() as server:
        yield server


@pytest.fixture
def own_mosquitto() -> Iterator[Mosquitto]:
    """A running Mosquitto that no other test uses, to be stopped, killed and started again."""
    with Mosquitto() as server:
        yield server


@pytest.fixture
def own_redis() -> Iterator[Redis]:
    """A running Redis that no other test uses, to be stopped, killed and started again."""
    with Redis() as server:
        yield server


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    """A running Valkey that no other test uses, to be stopped, killed and started again."""
    with Valkey() as server:
        yield server
