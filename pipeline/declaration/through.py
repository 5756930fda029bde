"""`through`: a stream that goes through a topic of its own; what may be one."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from penstock.connectors import Endpoint, Kafka
from penstock.connectors.template import names
from penstock.errors import DeclarationError, Where
from penstock.pipeline.declaration.annotations import label
from penstock.pipeline.declaration.endpoints import check_endpoint
from penstock.pipeline.declaration.payloads import check_by, check_schema

TOPICS = ("kafka:", "redis:", "memory:")


def check_through(topic: Any, key: Any, payload: Any, where: Where) -> Endpoint:
    """The topic of a through, to be read from its beginning. Raises `DeclarationError` where it cannot be one."""
    if isinstance(topic, Endpoint) and not isinstance(topic, type) and not topic.address.startswith(TOPICS):
        raise DeclarationError(
            f"{topic.address} does not keep events in order by key: a through takes Kafka('...') or Redis('...')", where
        )
    check_endpoint(topic, where, "source")
    endpoint: Endpoint = topic
    if names(endpoint.address):
        raise DeclarationError(f"{endpoint.address}: a through has one topic, so its name has no braces", where)
    if key is None:
        raise DeclarationError("key= is None: a through is there to put events in order by another key", where)
    check_by(key, payload, where, "key=")
    if payload is Any:
        raise DeclarationError(
            f"the type of what goes through {endpoint.address} is not known, so it could not be read again: "
            "annotate what the stage before returns",
            where,
        )
    try:
        check_schema(payload, None, where)
    except DeclarationError as error:
        raise DeclarationError(
            f"{label(payload)} goes through {endpoint.address} as JSON: {error.message.removeprefix('schema= ')}", where
        ) from None
    return replace(endpoint, start="earliest") if isinstance(endpoint, Kafka) else endpoint
