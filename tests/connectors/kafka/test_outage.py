"""Sources and sinks whose broker goes away and comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.connectors.contract import (
    SinkOutageContract,
    SourceOutageContract,
)
from tests.connectors.kafka.rig import OutageKafkaRig
from tests.servers import Kafka as Server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def frail_kafka() -> Iterator[Server]:
    """A broker that the outages of this file take away and bring back, one after the other."""
    with Server() as server:
        yield server


@pytest.fixture
async def outage_rig(frail_kafka: Server, client: str) -> AsyncIterator[OutageKafkaRig]:
    if not frail_kafka.running:  # a test that failed left it so
        frail_kafka.start()
    made = OutageKafkaRig(frail_kafka, client)
    yield made
    await made.close()


@pytest.mark.slow
class TestSourceOutage(SourceOutageContract):
    """A source whose broker goes away."""

    @pytest.fixture
    async def rig(self, outage_rig: OutageKafkaRig) -> OutageKafkaRig:
        return outage_rig


@pytest.mark.slow
class TestSinkOutage(SinkOutageContract):
    """A sink whose broker goes away."""

    @pytest.fixture
    async def rig(self, outage_rig: OutageKafkaRig) -> OutageKafkaRig:
        return outage_rig
