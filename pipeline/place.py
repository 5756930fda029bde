"""What tells two endpoints apart."""

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
