"""Connecting through kafka-python, for its consumer and its producer."""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from penstock.connectors.kafka.client import CONNECT
from penstock.errors import ConfigError, Unavailable

if TYPE_CHECKING:
    from penstock.connectors.settings import KafkaSettings


log = logging.getLogger("penstock.kafka")


def library(module: str) -> Any:
    """A module of kafka-python, whose types nobody wrote down."""
    return importlib.import_module(module)


def offsets(commits: dict[Any, tuple[int, str]]) -> dict[Any, Any]:
    """Offsets and notes by partition, as the client wants them to be committed."""
    made = library("kafka").OffsetAndMetadata
    return {place: made(offset, text, -1) for place, (offset, text) in commits.items()}


def connected(settings: KafkaSettings, client_id: str, kind: str, options: dict[str, Any]) -> Any:
    """A `KafkaConsumer` or `KafkaProducer` that has found its cluster. Raises `Unavailable` or `ConfigError`.

    The library says of a refused password that it timed out, and leaves its thread running when it could not connect.
    Both are seen to here, through the network client that it is given.
    """
    clients: list[Any] = []
    reasons: list[Exception] = []

    def network(**configs: Any) -> Any:
        client = library("kafka.net.compat").KafkaNetClient(**configs)
        clients.append(client)
        _listen(client._manager, reasons)
        return client

    try:
        made = getattr(library("kafka"), kind)(**_connection(settings, client_id), kafka_client=network, **options)
    except (library("kafka.errors").KafkaError, AssertionError, TypeError, ValueError) as error:
        for client in clients:
            client.close()
        wrong = library("kafka.errors").SaslAuthenticationFailedError
        raise refusal(settings, next((each for each in reasons if isinstance(each, wrong)), error)) from None
    for client in clients:
        del client._manager.get_connection
    return made


def leave(producer: Any, seconds: float) -> None:
    """Close a `KafkaProducer` within so many seconds, whatever it has not delivered.

    Where something is not, its own `close` raises, leaves its thread running, and is called once more, and raises once
    more, when the garbage is collected.
    """
    try:
        producer.close(timeout=seconds)
    except library("kafka.errors").KafkaError as error:
        log.debug("a producer leaves what it has not delivered: %s", error)
        producer._sender.force_close()
        producer._closed = True


def _listen(manager: Any, reasons: list[Exception]) -> None:
    """Note what logins are answered, and why connections are closed, while the manager's `get_connection` is replaced.

    The broker refuses a password and hangs up. The library throws away what it reads together with the end, and of the
    two it keeps whichever it comes to first.
    """
    errors, asking = library("kafka.errors"), library("kafka.protocol.sasl").SaslAuthenticateRequest
    get_connection = manager.get_connection
    known: set[int] = set()

    def watched(*arguments: Any, **options: Any) -> Any:
        connection = get_connection(*arguments, **options)
        if id(connection) not in known:
            known.add(id(connection))
            close, send, made = connection.close, connection._send_request, connection.connection_made

            def answered(response: Any) -> None:
                error = errors.for_code(response.error_code)
                if error is not errors.NoError:
                    reasons.append(errors.SaslAuthenticationFailedError(response.error_message or error.__name__))

            def sending(request: Any, *arguments: Any, **options: Any) -> Any:
                future = send(request, *arguments, **options)
                if isinstance(request, asking):
                    future.add_callback(answered)
                return future

            def closing(error: Exception | None = None, **more: Any) -> Any:
                if error is not None:
                    reasons.append(error)
                return close(error, **more)

            def beginning(transport: Any) -> None:
                receive = transport._sock_recv

                def received() -> tuple[bytes, Exception | None]:
                    data, error = receive()
                    return data, None if data else error  # the end is met again by the next read

                transport._sock_recv = received
                made(transport)

            connection.close, connection._send_request, connection.connection_made = closing, sending, beginning
        return connection

    manager.get_connection = watched


def refusal(settings: KafkaSettings, error: Exception) -> ConfigError | Unavailable:
    """What it means that the client could not connect."""
    errors = library("kafka.errors")
    final = (
        errors.SaslAuthenticationFailedError,
        errors.KafkaConfigurationError,
        AssertionError,
        TypeError,
        ValueError,
    )
    if isinstance(error, final):
        return ConfigError(f"Kafka at {settings.address}: {error}")
    # The broker's answer to a refused login is often lost with the connection.
    login = f" (or the password of {settings.sasl_username!r} is wrong)" if settings.sasl_username else ""
    return Unavailable("kafka", f"{settings.address}: {error}{login}")


def _connection(settings: KafkaSettings, client_id: str) -> dict[str, Any]:
    """How to reach the brokers, in kafka-python's words."""
    found: dict[str, Any] = {
        "bootstrap_servers": [each.strip() for each in settings.address.split(",")],
        "bootstrap_timeout_ms": round(CONNECT * 1000),
        "client_id": client_id,
        "security_protocol": settings.security_protocol,
        "reconnect_backoff_max_ms": 1000,
        "metrics_enabled": False,
    }
    if settings.security_protocol.startswith("SASL"):
        found["sasl_mechanism"] = settings.sasl_mechanism
        found["sasl_plain_username"] = settings.sasl_username
        found["sasl_plain_password"] = settings.sasl_password.get_secret_value()
    if settings.ssl_ca:
        found["ssl_cafile"] = settings.ssl_ca
    return found
