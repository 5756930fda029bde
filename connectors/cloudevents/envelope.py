"""CloudEvents in structured mode: a JSON object around the payload, or an array of such."""

from __future__ import annotations

import binascii

import msgspec

from penstock.connectors.cloudevents.attributes import CORE, Attributes, checked
from penstock.connectors.header import media_type
from penstock.errors import BadEvent

_envelope = msgspec.json.Decoder(dict[str, msgspec.Raw])
_envelopes = msgspec.json.Decoder(list[msgspec.Raw])
_plain = msgspec.json.Decoder()


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
        if name not in CORE:
            rest[name] = "true" if value is True else "false" if value is False else str(value)
        elif isinstance(value, str):
            core[name] = value
        else:
            raise BadEvent(f"CloudEvents attribute {name!r} is {value!r}, not text", path=f"$.{name}")
    attributes = checked(core, rest, "")
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
