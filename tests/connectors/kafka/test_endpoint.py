"""Topics and their brokers as they are declared."""

from __future__ import annotations

import pytest

from penstock.connectors import Kafka, Settings, Site
from penstock.errors import ConfigError
from tests.connectors.contract import Ledger


async def test_a_certificate_that_is_not_there_is_named(client: str) -> None:
    """confluent-kafka raises what nobody expects, and kafka-python waits for a broker."""
    variables = {
        "PENSTOCK_KAFKA": "127.0.0.1:1",
        "PENSTOCK_KAFKA_CLIENT": client,
        "PENSTOCK_KAFKA_SECURITY_PROTOCOL": "SSL",
        "PENSTOCK_KAFKA_SSL_CA": "/no/such.pem",
    }
    site = Site(Settings(variables))
    for opening in (
        Kafka("t").source(site).open,
        lambda: Kafka("t").sink(site).open(Ledger().settled),
        lambda: Kafka("t", transactional=True).sink(site).open(Ledger().settled),
    ):
        with pytest.raises(ConfigError, match=r"/no/such\.pem is no file"):
            await opening()
    await site.close()
