"""Each test runs through both clients."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.connectors.kafka.rig import CLIENTS, KafkaRig


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    """The client library under test."""
    return str(request.param)


@pytest.fixture
async def rig(kafka_address: str, client: str) -> AsyncIterator[KafkaRig]:
    made = KafkaRig(kafka_address, client)
    yield made
    await made.close()
