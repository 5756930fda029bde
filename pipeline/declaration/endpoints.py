"""Checking endpoints: what is one, for which side, and what the braces of its template need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_origin

from penstock.connectors import Endpoint
from penstock.connectors.template import check, names
from penstock.errors import DeclarationError, Where
from penstock.pipeline.declaration.annotations import element, has, known, label, without_none
from penstock.pipeline.declaration.payloads import check_field
from penstock.pipeline.declaration.wiring import hint
from penstock.stages.function import length

HORIZON = 24 * 3600.0
"""Seconds that an action is kept where `once=True` says no time."""


def check_targets(to: Any, stage: str, where: Where) -> tuple[Endpoint, ...]:
    """The endpoints of an act."""
    found: tuple[Any, ...] = tuple(to) if isinstance(to, list | tuple) else (to,)
    if not found:
        raise DeclarationError(f"act {stage!r} goes nowhere: name an endpoint in to=", where)
    for number, endpoint in enumerate(found):
        check_endpoint(endpoint, where, "sink")
        if endpoint in found[:number]:
            raise DeclarationError(f"act {stage!r} names {endpoint.address} twice in to=", where)
    return found


def check_endpoint(endpoint: Any, where: Where, side: Literal["source", "sink"]) -> None:
    """Refuse what is no endpoint, or none for this side."""
    if isinstance(endpoint, type) or not isinstance(endpoint, Endpoint):
        if isinstance(endpoint, list | tuple):
            given = "source()" if side == "source" else "to="
            raise DeclarationError(
                f"{given} is given a {type(endpoint).__name__}: give it endpoints one after another", where
            )
        name = endpoint.__name__ if isinstance(endpoint, type) else "Kafka"
        topic = endpoint if isinstance(endpoint, str) else "payments"
        what = f"{name} is a class" if isinstance(endpoint, type) else f"{endpoint!r} is no endpoint"
        raise DeclarationError(f"{what}: write for example {name}({topic!r})", where)
    try:
        check(endpoint.address)
        if side == "source":
            getattr(endpoint, "filter", None)  # where an endpoint has one, making it says what is wrong with it
    except (ValueError, DeclarationError) as error:
        raise DeclarationError(error.message if isinstance(error, DeclarationError) else str(error), where) from None
    url = endpoint.address.startswith(("http://", "https://"))
    if side == "source" and url:
        raise DeclarationError(
            f"{endpoint.address} is a URL: a source listens on a path, like Http('/payments')", where
        )
    if side == "sink" and endpoint.address.startswith("http:") and not url:
        raise DeclarationError(
            f"{endpoint.address} is a path: an action goes to a URL, like Http('https://host{endpoint.address[5:]}')",
            where,
        )
    if side == "source" and endpoint.address == "reply":
        raise DeclarationError("Reply() answers a request, so nothing comes in through it: use it in to=", where)
    if (
        side == "sink"
        and endpoint.address.startswith("mqtt:")
        and {"+", "#"} & set(endpoint.address.split(":", 1)[1].split("/"))
    ):
        raise DeclarationError(f"{endpoint.address}: + and # are for sources; an action goes to one topic", where)


def check_captures(endpoint: Endpoint, payload: Any, where: Where) -> None:
    """Refuse a source's template that captures what the payload has no field for."""
    for name in names(endpoint.address):
        check_field(name, payload, where, f"{endpoint.address}:")


def check_filled(endpoint: Endpoint, kinds: Sequence[Any], where: Where) -> None:
    """Refuse a sink's template whose braces neither the action nor the payload can fill."""
    for name in names(endpoint.address):
        if not any(has(kind, name) for kind in kinds):
            who = " nor ".join(dict.fromkeys(label(kind) for kind in kinds))
            start = "neither " if " nor " in who else ""
            fields = {one for kind in kinds for one in known(kind)}
            verb = "has a field" if start else "has no field"
            raise DeclarationError(f"{endpoint.address}: {start}{who} {verb} {name!r}{hint(name, fields)}", where)


def horizon(once: Any, to: Sequence[Endpoint], where: Where) -> float | None:
    """The seconds for which the actions of an act are kept; None where they are not."""
    if once is False:
        return None
    if all(endpoint.address == "reply" for endpoint in to):
        raise DeclarationError("once= keeps what is sent; a Reply() answers whoever asks, so leave it out", where)
    if once is True:
        return HORIZON
    try:
        return length("once", once)
    except DeclarationError as error:
        raise DeclarationError(error.message, where) from None


def acted(result: Any) -> tuple[Any, ...]:
    """The types of what an act function hands over: without None, out of lists and `Action`s."""
    found: list[Any] = []
    for member in without_none(result):
        if get_origin(member) is list or member is list:
            found += acted(element(member))
        elif getattr(get_origin(member) or member, "__name__", "") == "Action":
            found += acted((*getattr(member, "__args__", ()), Any)[0])
        else:
            found.append(member)
    return tuple(found)
