"""What a CloudEvent says about itself, and the binary mode, in which headers say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from penstock.connectors.event import Event
from penstock.connectors.header import decoded, text
from penstock.connectors.rfc3339 import instant
from penstock.errors import BadEvent

CORE = ("id", "source", "type", "subject", "time", "specversion", "datacontenttype", "dataschema")
"""The attributes that CloudEvents 1.0 itself knows; every other one is an extension."""


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
        if bare in CORE:
            core[bare] = value
        else:
            rest[bare] = value
    return checked(core, rest, content_type)


def checked(core: dict[str, str], rest: dict[str, str], content_type: str) -> Attributes:
    """Attributes by their bare names and beside them the extensions. Raises `BadEvent` for one missing or wrong."""
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
