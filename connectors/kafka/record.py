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
        found = [*_constant(message.source, message.type), *_time(int(message.time * 1000))]
        found.append(("ce_id", message.id.encode()))
        if message.subject:
            found.append(("ce_subject", message.subject.encode()))
    else:
        found = [_CONTENT]
    return found if not message.headers else _with_own(found, message.headers.items())


def stamp(message: Message, now: float) -> int:
    """A message's timestamp in milliseconds. Never in the future, since brokers refuse what is far ahead of them."""
    return int((message.time if 0.0 < message.time < now else now) * 1000)


_CONTENT: Header = ("content-type", JSON.encode())


# Both are asked for every action, and are the same for all of a stage, and for all of a millisecond.
@lru_cache(maxsize=1024)
def _constant(source: str, kind: str) -> tuple[Header, ...]:
    return ("ce_specversion", b"1.0"), ("ce_source", source.encode()), ("ce_type", kind.encode()), _CONTENT


@lru_cache(maxsize=64)
def _time(millis: int) -> tuple[Header, ...]:
    # A time that no calendar has is left out, as `time` is optional.
    try:
        return (("ce_time", rfc3339(millis / 1000).encode()),) if millis else ()
    except (ValueError, OverflowError):
        return ()


def _with_own(found: list[Header], own: ItemsView[str, str | bytes]) -> list[Header]:
    """A header of the message's own stands in the place of one with the same name."""
    names = {name for name, _ in own}
    return [*(each for each in found if each[0] not in names), *((name, _bytes(value)) for name, value in own)]


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
