"""Messages that paho refuses to read, as far as an event needs them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from paho.mqtt.client import MQTTMessage

_SIZES = {0x01: 1, 0x02: 4, 0x23: 2}
"""Bytes of the properties of a fixed size: payload format, expiry, topic alias."""

CONTENT_TYPE, USER_PROPERTY, SUBSCRIPTION = 0x03, 0x26, 0x0B
_TEXTS = (CONTENT_TYPE, 0x08, 0x09)
"""Those that say their length, with the response topic and the correlation data."""


def message(flags: int, packet: bytes) -> MQTTMessage:
    """A PUBLISH packet without its fixed header, whose first byte are the `flags`. Raises ValueError, IndexError.

    paho takes U+FEFF in a text for a broken packet, though brokers pass it on, and MQTT allows it. Read again at each
    new connection, such a message would keep everything behind it from ever arriving. Here what is not UTF-8 is
    replaced.

    >>> found = message(0x32, b"\\0\\1t\\0\\7\\x0a\\x26\\0\\1a\\0\\4\\xef\\xbb\\xbfbpayload")
    >>> found.mid, found.topic, vars(found.properties)["UserProperty"], found.payload
    (7, 't', [('a', '\\ufeffb')], b'payload')
    """
    from paho.mqtt.client import MQTTMessage

    topic, at = _bytes(packet, 0)
    qos, mid = flags >> 1 & 3, 0
    if qos:
        mid, at = int.from_bytes(packet[at : at + 2], "big"), at + 2
    size, at = _number(packet, at)
    found = MQTTMessage(mid=mid, topic=topic)
    found.dup, found.qos, found.retain = bool(flags & 8), qos, bool(flags & 1)
    found.properties = cast(Any, _properties(packet[at : at + size]))
    found.payload = bytes(packet[at + size :])
    return found


def _properties(packed: bytes) -> SimpleNamespace:
    """Content type and user properties, where there are any."""
    found = SimpleNamespace()
    at = 0
    while at < len(packed):
        kind, at = packed[at], at + 1
        if kind == USER_PROPERTY:
            name, at = _bytes(packed, at)
            value, at = _bytes(packed, at)
            found.__dict__.setdefault("UserProperty", []).append((_text(name), _text(value)))
        elif kind in _TEXTS:
            value, at = _bytes(packed, at)
            if kind == CONTENT_TYPE:
                found.ContentType = _text(value)
        elif kind == SUBSCRIPTION:
            _, at = _number(packed, at)
        elif kind in _SIZES:
            at += _SIZES[kind]
        else:
            raise ValueError(f"no message has a property {kind:#x}")
    return found


def _bytes(packet: bytes, at: int) -> tuple[bytes, int]:
    """What stands there behind its length of two bytes, and where it ends."""
    start = at + 2
    stop = start + int.from_bytes(packet[at:start], "big")
    if len(packet) < stop:
        raise ValueError("the packet ends too early")
    return bytes(packet[start:stop]), stop


def _number(packet: bytes, at: int) -> tuple[int, int]:
    """A number of up to four bytes, and where it ends."""
    value = shift = 0
    while True:
        byte, at = packet[at], at + 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
