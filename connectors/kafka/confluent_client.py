"""Connecting through confluent-kafka, and what its errors mean."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from penstock.connectors.kafka.client import CONNECT

if TYPE_CHECKING:
    import confluent_kafka as ck

    from penstock.connectors.settings import KafkaSettings

log = logging.getLogger("penstock.kafka")

PROBE = 1.0
"""Seconds between questions to a broker that did not answer."""

ATTEMPTS = 20
"""How often a commit is asked for whose text cannot be read."""


def connection(settings: KafkaSettings) -> dict[str, Any]:
    """How to reach the brokers, in librdkafka's words."""
    found: dict[str, Any] = {
        "bootstrap.servers": settings.address,
        "security.protocol": settings.security_protocol,
        # Twice as long as the client waits between its first two connections, which opening often has to wait for. This
        # is what the other clients take; with less, it is busy while brokers are away.
        "reconnect.backoff.ms": 50,
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


def committed(consumer: ck.Consumer, topic: str, numbers: Sequence[int]) -> dict[int, tuple[int, str | None]]:
    """What the group has committed of these partitions: offset and text. Raises `KafkaException`.

    The client does not end a text that it read with a zero (librdkafka's issue 4649): what lies behind it in memory
    comes with it, and raises where it is no UTF-8. That differs with what is asked for, so it is asked for again; a
    text that still cannot be read is None.
    """
    import confluent_kafka as ck

    found: dict[int, tuple[int, str | None]] = {}
    left = list(numbers)
    for attempt in range(ATTEMPTS):
        some = left[attempt % 2 :: 2] if attempt and len(left) > 1 else left
        for each in consumer.committed([ck.TopicPartition(topic, number) for number in some], timeout=CONNECT):
            try:
                text = each.metadata or ""
            except UnicodeDecodeError:
                if attempt < ATTEMPTS - 2:
                    continue
                text = None
            left.remove(each.partition)
            if each.offset >= 0:
                found[each.partition] = (each.offset, text)
        if not left:
            break
    return found


def oversized() -> frozenset[int]:
    """What says that a batch is too large for its topic."""
    import confluent_kafka as ck

    return frozenset({ck.KafkaError.MSG_SIZE_TOO_LARGE, ck.KafkaError.RECORD_LIST_TOO_LARGE})


def final_errors() -> frozenset[int]:
    """What says that this record will never be taken."""
    import confluent_kafka as ck

    error = ck.KafkaError
    return frozenset(
        {
            *oversized(),
            error.INVALID_MSG,
            error.INVALID_RECORD,
            error.INVALID_TIMESTAMP,
            error.TOPIC_EXCEPTION,
            error._BAD_MSG,
            error._INVALID_ARG,
        }
    )
