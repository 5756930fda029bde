"""What tells two endpoints apart, and whether an endpoint tells its records apart."""

from __future__ import annotations

from penstock.connectors import Endpoint


def place(endpoint: Endpoint) -> str:
    """An endpoint's address, with the connection and the method where they are not the usual ones.

    >>> from penstock.connectors import Http, Kafka
    >>> place(Kafka("payments")), place(Kafka("payments", on="eu")), place(Http("/payments", method="PUT"))
    ('kafka:payments', 'kafka:payments on eu', 'http:/payments PUT')
    """
    on, method = getattr(endpoint, "on", ""), getattr(endpoint, "method", "POST")
    return endpoint.address + (f" on {on}" if on else "") + (f" {method}" if method != "POST" else "")


def has_positions(endpoint: Endpoint) -> bool:
    """Whether records of this source have positions, so that a repeat is known as one without an id of its own.

    >>> from penstock.connectors import Kafka, Mqtt
    >>> has_positions(Kafka("payments")), has_positions(Mqtt("payments"))
    (True, False)
    """
    return bool(getattr(endpoint, "positions", True))
