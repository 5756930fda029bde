"""A message as a Kafka record: its headers and its timestamp."""

from __future__ import annotations

from collections.abc import ItemsView
from functools import lru_cache

from penstock.connectors.event import Message
from penstock.connectors.header import JSON
from penstock.connectors.rfc3339 import rfc3339

Header = tuple[str, str | bytes | None]


def headers(message: Message) -> list[Header]:
    """A message's headers: its CloudEvents attributes in binary mode, its content type, its own.

    A `subject` is written where the message names one; the record's key says the rest. A message that lacks `id`,
    `source` or `type` is no CloudEvent.

    >>> dict(headers(Message("t", b"", id="7/decide", source="/demo", type="decided")))["ce_id"]
    b'7/decide'
    """
    if message.id and message.source and message.type:
        common = _common(message.source, message.type, int(message.time * 1000))
        found: list[Header] = [*common, ("ce_id", message.id.encode())]
        if message.subject:
            found.append(("ce_subject", message.subject.encode()))
    else:
        found = [_CONTENT]
    return found if not message.headers else _with_own(found, message.headers.items())


def stamp(message: Message, now: float) -> int:
    """A message's timestamp in milliseconds. Never in the future, since brokers refuse what is far ahead of them."""
    return int((message.time if 0.0 < message.time < now else now) * 1000)


_CONTENT: Header = ("content-type", JSON.encode())


# Asked for with every action, and the same for all that a stage makes in a millisecond.
@lru_cache(maxsize=256)
def _common(source: str, kind: str, millis: int) -> tuple[Header, ...]:
    found = ("ce_specversion", b"1.0"), ("ce_source", source.encode()), ("ce_type", kind.encode()), _CONTENT
    # A time that no calendar has is left out, as `time` is optional.
    try:
        return (*found, ("ce_time", rfc3339(millis / 1000).encode())) if millis else found
    except (ValueError, OverflowError):
        return found


def _with_own(found: list[Header], own: ItemsView[str, str | bytes]) -> list[Header]:
    """A header of the message's own stands in the place of one with the same name."""
    names = {name for name, _ in own}
    return [*(each for each in found if each[0] not in names), *((name, _bytes(value)) for name, value in own)]


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
