"""Topics and their brokers as they are declared."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from penstock.connectors import Kafka, Settings, Site
from penstock.errors import ConfigError


@pytest.mark.parametrize("address", ["kafka://a:9092", "a:9092,b:http", "a:9092, :9092", "a:", "a:99999"])
def test_servers_that_are_no_addresses_are_named(address: str, client: str) -> None:
    site = Site(Settings({"PENSTOCK_KAFKA__EU": address, "PENSTOCK_KAFKA__EU_CLIENT": client}))
    with pytest.raises(ConfigError, match=re.escape(f"PENSTOCK_KAFKA__EU is {address!r}: write host:port")):
        Kafka("t", on="eu").source(site)


@pytest.mark.parametrize("address", ["a:9092", "a", "[::1]:9092", "10.0.0.1:9092, b.example:9093"])
def test_servers_that_are(address: str) -> None:
    assert Settings({"PENSTOCK_KAFKA": address}).kafka().address == address


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot read this file (No such file or directory)"),
        (b"", "no PEM certificates are in this file"),
        (b"\x30\x82\x01\x0a\xff\0", "no PEM certificates are in this file"),
        (b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n", "no PEM certificates are in this file"),
    ],
    ids=["missing", "empty", "binary", "nonsense"],
)
def test_certificates_that_cannot_be_used_are_named(
    content: bytes | None, said: str, client: str, tmp_path: Path
) -> None:
    """confluent-kafka raises what nobody expects, and kafka-python waits for a broker."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    variables = {
        "PENSTOCK_KAFKA__EU": "127.0.0.1:1",
        "PENSTOCK_KAFKA__EU_CLIENT": client,
        "PENSTOCK_KAFKA__EU_SECURITY_PROTOCOL": "SSL",
        "PENSTOCK_KAFKA__EU_SSL_CA": str(path),
    }
    site = Site(Settings(variables))
    for making in (
        Kafka("t", on="eu").source,
        Kafka("t", on="eu").sink,
        Kafka("t", on="eu", transactional=True).sink,
    ):
        with pytest.raises(ConfigError, match=re.escape(f"PENSTOCK_KAFKA__EU_SSL_CA is '{path}': {said}")):
            making(site)
