"""Headers of records and requests: their values as text, and how HTTP writes what is no ASCII."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote

JSON = "application/json"

Header = tuple[str, str | bytes | None]

_PRINTABLE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


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
