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

import binascii
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote

import msgspec

from penstock.connectors.event import Event, Message
from penstock.connectors.rfc3339 import instant, rfc3339
from penstock.errors import BadEvent

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
JSON = "application/json"

Header = tuple[str, str | bytes | None]

_CORE = ("id", "source", "type", "subject", "time", "specversion", "datacontenttype", "dataschema")
_PRINTABLE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
_envelope = msgspec.json.Decoder(dict[str, msgspec.Raw])
_envelopes = msgspec.json.Decoder(list[msgspec.Raw])
_plain = msgspec.json.Decoder()


class Attributes(msgspec.Struct, frozen=True):
    """What a CloudEvent says about itself. `time` is in seconds since the epoch, 0.0 where it is not said.

    `headers` holds the extensions, by their bare names, and the transport's other headers.
    """

    id: str
    source: str
    type: str
    subject: str = ""
    time: float = 0.0
    content_type: str = ""
    headers: dict[str, str] = {}

    def event(self, *, data: Any, key: str = "", topic: str = "", time: float = 0.0) -> Event:
        """The event itself. `time` is the transport's, used where the attributes have none."""
        return Event(self.id, self.source, self.type, self.subject, self.time or time, key, topic, self.headers, data)


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


def binary(headers: Mapping[str, str | bytes | None], prefix: str, content_type: str = "") -> Attributes:
    """The attributes of a record in binary mode. Raises `BadEvent` where one is missing or wrong."""
    core: dict[str, str] = {}
    rest: dict[str, str] = {}
    cut, encoded = len(prefix), prefix == "ce-"
    for name, raw in headers.items():
        if not name.startswith(prefix):
            rest[name] = text(raw)
            continue
        bare = name[cut:]
        if isinstance(raw, bytes):
            try:
                raw = raw.decode()
            except UnicodeDecodeError as error:
                raise BadEvent(f"CloudEvents attribute {bare!r} is not UTF-8: {error}", path=bare) from None
        value = text(raw)
        if encoded:
            value = decoded(value)
        if bare in _CORE:
            core[bare] = value
        else:
            rest[bare] = value
    return _attributes(core, rest, content_type)


def unwrap(body: bytes) -> tuple[bytes | None, Attributes]:
    """Payload and attributes of one envelope. Raises `BadEvent`.

    JSON data is given back byte for byte as it stood in the envelope; absent data is None.

    >>> unwrap(b'{"specversion":"1.0","id":"1","source":"/a","type":"t","data":{"n": 1}}')[0]
    b'{"n": 1}'
    """
    try:
        fields = _envelope.decode(body)
    except msgspec.DecodeError as error:
        raise BadEvent(f"not a CloudEvents envelope: {error}") from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise BadEvent(f"not a CloudEvents envelope: {type(error).__name__}: {error}") from None
    data, encoded = fields.pop("data", None), fields.pop("data_base64", None)
    core: dict[str, str] = {}
    rest: dict[str, str] = {}
    for name, raw in fields.items():
        value = _scalar(raw, name)
        if value is None:
            continue
        if name not in _CORE:
            rest[name] = "true" if value is True else "false" if value is False else str(value)
        elif isinstance(value, str):
            core[name] = value
        else:
            raise BadEvent(f"CloudEvents attribute {name!r} is {value!r}, not text", path=f"$.{name}")
    attributes = _attributes(core, rest, "")
    return _payload(data, encoded, attributes.content_type), attributes


def unwrap_batch(body: bytes) -> list[tuple[bytes | BadEvent | None, Attributes | None, bytes]]:
    """Of each envelope of a batch: its payload, its attributes, and its own bytes.

    One that cannot be read has a `BadEvent` in place of its payload; the others are not touched by it. Raises
    `BadEvent` where the whole is not a JSON array.
    """
    try:
        items = _envelopes.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadEvent(f"not a batch of CloudEvents: {error}") from None
    found: list[tuple[bytes | BadEvent | None, Attributes | None, bytes]] = []
    for item in items:
        one = bytes(item)
        try:
            found.append((*unwrap(one), one))
        except BadEvent as error:
            found.append((error, None, one))
    return found


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


def media_type(content_type: str) -> str:
    """The type without its parameters, in lower case.

    >>> media_type("Application/JSON; charset=utf-8")
    'application/json'
    """
    return content_type.partition(";")[0].strip().lower()


def encoded(value: str) -> str:
    """Text as an HTTP header's value, percent-encoded as the CloudEvents HTTP binding says.

    >>> encoded('say "ä"')
    'say%20%22%C3%A4%22'
    """
    return value if value.isascii() and value.isalnum() else quote(value, safe=_PRINTABLE, errors="replace")


def decoded(value: str) -> str:
    """The text of a percent-encoded HTTP header, quoted or not.

    >>> decoded('"caf%C3%A9"')
    'café'
    """
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    return unquote(value) if "%" in value else value


def text(raw: str | bytes | None) -> str:
    """A header's value as text; what is not UTF-8 in it is replaced, None is empty."""
    if raw is None:
        return ""
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw


def texts(headers: Iterable[Header]) -> dict[str, str]:
    """A transport's headers as the text that `Event.headers` holds."""
    return {name: text(raw) for name, raw in headers}


def _attributes(core: dict[str, str], rest: dict[str, str], content_type: str) -> Attributes:
    version = core.get("specversion")
    if version != "1.0":
        said = "is missing" if version is None else f"is {version!r}, only '1.0' is known"
        raise BadEvent(f"CloudEvents specversion {said}", path="specversion")
    for name in ("id", "source", "type"):
        if not core.get(name):
            raise BadEvent(f"CloudEvents attribute {name!r} is {'empty' if name in core else 'missing'}", path=name)
    time = core.get("time")
    schema = core.get("dataschema")
    if schema:
        rest["dataschema"] = schema
    return Attributes(
        core["id"],
        core["source"],
        core["type"],
        core.get("subject", ""),
        instant(time) if time else 0.0,
        content_type or core.get("datacontenttype", ""),
        rest,
    )


def _scalar(raw: msgspec.Raw, name: str) -> str | int | bool | None:
    try:
        value = _plain.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadEvent(f"CloudEvents attribute {name!r} is not valid JSON: {error}", path=f"$.{name}") from None
    if value is None or isinstance(value, str | int):
        return value
    raise BadEvent(
        f"CloudEvents attribute {name!r} is {type(value).__name__}: text, a boolean or an integer is allowed",
        path=f"$.{name}",
    )


def _payload(data: msgspec.Raw | None, encoded: msgspec.Raw | None, content_type: str) -> bytes | None:
    if encoded is not None:
        if data is not None:
            raise BadEvent("CloudEvents envelope has both 'data' and 'data_base64'", path="$.data_base64")
        found = _scalar(encoded, "data_base64")
        if not isinstance(found, str):
            raise BadEvent("CloudEvents 'data_base64' is not text", path="$.data_base64")
        try:
            return binascii.a2b_base64(found, strict_mode=True)
        except ValueError as error:
            raise BadEvent(f"CloudEvents 'data_base64' is not Base64: {error}", path="$.data_base64") from None
    if data is None:
        return None
    payload = bytes(data)
    # Data of another type than JSON stands in the envelope as a JSON string.
    if payload[:1] == b'"' and content_type and not _is_json(content_type):
        return str(_scalar(data, "data")).encode("utf-8", "surrogatepass")
    return payload


def _is_json(content_type: str) -> bool:
    kind = media_type(content_type)
    return kind.endswith(("/json", "+json"))
