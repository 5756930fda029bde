"""Connecting through confluent-kafka, and what its errors mean."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.connectors.settings import KafkaSettings

log = logging.getLogger("penstock.kafka")

PROBE = 1.0
"""Seconds between questions to a broker that did not answer."""


def connection(settings: KafkaSettings) -> dict[str, Any]:
    """How to reach the brokers, in librdkafka's words."""
    found: dict[str, Any] = {
        "bootstrap.servers": settings.address,
        "security.protocol": settings.security_protocol,
        "reconnect.backoff.max.ms": 1000,
        "logger": log,
        # Failures reach us through `error_cb`, are told once and shown by `problem`. The client itself repeats each,
        # several times a second for as long as a broker is away.
        "log_level": 2,
    }
    if settings.security_protocol.startswith("SASL"):
        found["sasl.mechanism"] = settings.sasl_mechanism
        found["sasl.username"] = settings.sasl_username
        found["sasl.password"] = settings.sasl_password.get_secret_value()
    if settings.ssl_ca:
        found["ssl.ca.location"] = settings.ssl_ca
    return found


def final_errors() -> frozenset[int]:
    """What says that this record will never be taken."""
    import confluent_kafka as ck

    error = ck.KafkaError
    return frozenset(
        {
            error.MSG_SIZE_TOO_LARGE,
            error.RECORD_LIST_TOO_LARGE,
            error.INVALID_MSG,
            error.INVALID_RECORD,
            error.INVALID_TIMESTAMP,
            error.TOPIC_EXCEPTION,
            error._BAD_MSG,
            error._INVALID_ARG,
        }
    )
