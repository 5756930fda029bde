"""A broker that wants to know who is there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from penstock.connectors import Kafka, Message, Settings, Site
from penstock.errors import ConfigError
from tests.connectors.contract import (
    Ledger,
    take,
)
from tests.connectors.kafka.rig import CLIENTS
from tests.servers import Kafka as Server

pytestmark = pytest.mark.slow


@pytest.fixture
def guarded_kafka() -> Iterator[Server]:
    """A broker that wants to know who is there."""
    server = Server()
    login = 'required username="admin" password="secret" user_admin="secret" user_app="open sesame";'
    server.settings |= {
        "listeners": f"SASL_PLAINTEXT://127.0.0.1:{server.port},CONTROLLER://127.0.0.1:{server.controller_port}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
        "inter.broker.listener.name": "SASL_PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": (
            f"org.apache.kafka.common.security.plain.PlainLoginModule {login}"
        ),
    }
    with server:
        yield server


@pytest.mark.slow
async def test_the_password_opens_and_a_wrong_one_is_a_mistake_of_the_settings(guarded_kafka: Server) -> None:
    for client in CLIENTS:
        variables = {
            "PENSTOCK_KAFKA": guarded_kafka.address,
            "PENSTOCK_KAFKA_CLIENT": client,
            "PENSTOCK_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "PENSTOCK_KAFKA_SASL_USERNAME": "app",
        }
        endpoint = Kafka("guarded", start="earliest")
        site = Site(Settings({**variables, "PENSTOCK_KAFKA_SASL_PASSWORD": "open sesame"}), pipeline=client)
        source, sink, ledger = endpoint.source(site), endpoint.sink(site), Ledger()
        await source.open()
        await sink.open(ledger.settled)
        sink.send([Message("guarded", b"1", id="1")])
        record = (await take(source, 1))[0]
        assert record.value == b"1"
        await sink.close()
        await source.close()
        await site.close()
        wrong = Site(Settings({**variables, "PENSTOCK_KAFKA_SASL_PASSWORD": "open barley"}), pipeline=client)
        with pytest.raises(ConfigError, match=r"(?i)authentication|password"):
            await endpoint.source(wrong).open()
        with pytest.raises(ConfigError, match=r"(?i)authentication|password"):
            await endpoint.sink(wrong).open(ledger.settled)
        await wrong.close()
