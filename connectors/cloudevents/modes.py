"""CloudEvents 1.0 on the wire, the same for every transport.

Three ways in, and no cost for records that are none of them:

- *binary*: the payload is the value, attributes are headers. Their prefix is the transport's: `ce_` for Kafka
  headers and stream fields, `ce-` for HTTP (whose header values are percent-encoded), none for MQTT user properties.
- *structured*: content type `application/cloudevents+json`, the value is an envelope around the payload.
- *batch* (HTTP): content type `application/cloudevents-batch+json`, an array of envelopes.

One way out: binary, see `write`.

A source calls `read` for each record that came with headers or a content type, and keeps the `Attributes` it gives
back until somebody asks for the `Event`.

>>> headers = {"ce_specversion": b"1.0", "ce_id": b"7", "ce_source": b"/terminals/9", "ce_type": b"payment.made"}
>>> value, attributes = read(b"{}", headers.items())
>>> attributes.event(data=value).id
'7'
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import msgspec

from penstock.connectors.cloudevents.attributes import Attributes, binary
from penstock.connectors.cloudevents.envelope import unwrap
from penstock.connectors.event import Message
from penstock.connectors.header import Header, encoded, media_type, text, texts
from penstock.connectors.rfc3339 import rfc3339
from penstock.errors import BadEvent

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"


def read(
    value: bytes | None, headers: Iterable[Header] = (), *, prefix: str = "ce_", content_type: str = ""
) -> tuple[bytes | BadEvent | None, Attributes | None]:
    """One record's payload and attributes, whichever mode it came in. Never raises.

    A record that is no CloudEvent comes back as it is, with None. One whose envelope cannot be read gives a `BadEvent`
    in place of the payload. `content_type` is for transports that keep it apart from the headers. Header names are
    compared as they are: over HTTP pass them in lower case.

    >>> read(b"{}", [("tenant", b"blue")])
    (b'{}', None)
    >>> read(b'{"specversion": "0.3"}', content_type=STRUCTURED)
    (BadEvent("CloudEvents specversion is '0.3', only '1.0' is known"), None)
    """
    try:
        found = dict(headers)
        kind = content_type or text(found.get("content-type"))
        if kind[:23].lower() == "application/cloudevents":
            if media_type(kind) != STRUCTURED:
                raise BadEvent(f"content type {kind!r}: of CloudEvents, {STRUCTURED} is understood here", status=415)
            payload, attributes = unwrap(value or b"")
            if found:
                attributes = msgspec.structs.replace(attributes, headers={**texts(found.items()), **attributes.headers})
            return payload, attributes
        if prefix + "specversion" not in found:
            return value, None
        return value, binary(found, prefix, kind)
    except BadEvent as error:
        return error, None


def write(message: Message, prefix: str = "ce_") -> dict[str, str]:
    """A message's attributes as headers in binary mode, without its own headers and its content type.

    Without a `subject` of its own a message is about its key. One that lacks `id`, `source` or `type` is no CloudEvent
    and gets none. A time that no calendar has (one given in milliseconds, say) is left out, as `time` is optional.

    >>> write(Message("t", b"", id="1", source="/demo", type="decided", time=0.25), "")["time"]
    '1970-01-01T00:00:00.250000Z'
    """
    if not (message.id and message.source and message.type):
        return {}
    specversion, id, source, kind, subject, time = _names(prefix)
    found = {specversion: "1.0", id: message.id, source: message.source, kind: message.type}
    if message.subject or message.key:
        found[subject] = message.subject or (message.key or b"").decode("utf-8", "replace")
    if message.time:
        try:  # noqa: SIM105 - `suppress` costs a third of this, and it is written for every action
            found[time] = rfc3339(message.time)
        except (ValueError, OverflowError):
            pass
    if prefix == "ce-":
        return {name: encoded(value) for name, value in found.items()}
    return found


@lru_cache(maxsize=8)
def _names(prefix: str) -> tuple[str, ...]:
    return tuple(prefix + name for name in ("specversion", "id", "source", "type", "subject", "time"))
