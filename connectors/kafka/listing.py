"""The topics that a cluster has."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from penstock.connectors.kafka.client import CONNECT
from penstock.errors import ConfigError, Unavailable

if TYPE_CHECKING:
    import confluent_kafka as ck

    from penstock.connectors.settings import KafkaSettings


def with_confluent(settings: KafkaSettings, client_id: str) -> frozenset[str]:
    """Asked through confluent-kafka. Blocks; raises `Unavailable` or `ConfigError`."""
    import confluent_kafka as ck
    from confluent_kafka.admin import AdminClient

    from penstock.connectors.kafka.confluent_client import connection

    refused: list[str] = []
    trouble = partial(_trouble, ck.KafkaError._AUTHENTICATION, refused)
    configuration: dict[str, Any] = {**connection(settings), "client.id": client_id, "error_cb": trouble}
    client = AdminClient(configuration)
    try:
        # Asked for by name, a topic that is not there would be made.
        return frozenset(client.list_topics(timeout=CONNECT).topics)
    except ck.KafkaException as error:
        client.poll(0)
        if refused:
            raise ConfigError(f"Kafka at {settings.address}: {refused[0]}") from None
        raise Unavailable("kafka", f"{settings.address}: {error.args[0].str()}") from None


def with_python(settings: KafkaSettings, client_id: str) -> frozenset[str]:
    """Asked through kafka-python. Blocks; raises `Unavailable` or `ConfigError`."""
    from penstock.connectors.kafka.python_client import connected, library, refusal

    consumer = connected(settings, client_id, "KafkaConsumer", {})
    try:
        return frozenset(consumer.topics())
    except library("kafka.errors").KafkaError as error:
        raise refusal(settings, error) from None
    finally:
        consumer.close(autocommit=False)


def _trouble(authentication: int, refused: list[str], error: ck.KafkaError) -> None:
    if error.code() == authentication:
        refused.append(error.str())
