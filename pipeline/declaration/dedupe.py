"""`Kafka(..., dedupe="1h")`: a source drops events that it has brought before."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.connectors import Endpoint
from penstock.errors import DeclarationError, Where
from penstock.stages.function import length
from penstock.stages.seen import Seen

NAME = "_seen"
"""The name under which the generated text has the answer; no function can ask for it."""


def dedupe_of(endpoints: Sequence[Endpoint], where: Where) -> tuple[str, Seen]:
    """What a source asks about each event. Raises `DeclarationError` where its endpoints do not say the same."""
    within = [getattr(endpoint, "dedupe", None) for endpoint in endpoints]
    for endpoint, one in zip(endpoints, within, strict=True):
        if one != within[0]:
            raise DeclarationError(
                f"{endpoints[0].address} has dedupe={within[0]!r} and {endpoint.address} has {one!r}: events of one "
                "source are compared with each other, so say the same for all, or make two sources and merge them",
                where,
            )
    try:
        length_of = length("dedupe", within[0])
    except DeclarationError as error:
        raise DeclarationError(error.message, where) from None
    assert length_of is not None, "only a source that says dedupe= asks"
    return NAME, Seen(None, length_of)
