"""Kafka keeps the contracts, through both of its clients."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.connectors.contract import KeyedSinkContract, LogContract, SinkOutageContract, SourceOutageContract
from tests.connectors.kafka_rig import KafkaRig, OutageKafkaRig
from tests.servers import Kafka as Server

CLIENTS = ("confluent", "kafka-python")


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    """The client library under test."""
    return str(request.param)


@pytest.fixture
async def rig(kafka_address: str, client: str) -> AsyncIterator[KafkaRig]:
    made = KafkaRig(kafka_address, client)
    yield made
    await made.close()


class TestSource(LogContract):
    """A topic as a source."""


class TestSink(KeyedSinkContract):
    """A topic as a sink."""


class TestSourceOutage(SourceOutageContract):
    """A source whose broker goes away."""

    @pytest.fixture
    async def rig(self, own_kafka: Server, client: str) -> AsyncIterator[OutageKafkaRig]:
        made = OutageKafkaRig(own_kafka, client)
        yield made
        await made.close()


class TestSinkOutage(SinkOutageContract):
    """A sink whose broker goes away."""

    @pytest.fixture
    async def rig(self, own_kafka: Server, client: str) -> AsyncIterator[OutageKafkaRig]:
        made = OutageKafkaRig(own_kafka, client)
        yield made
        await made.close()
