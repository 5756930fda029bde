"""A request's body as a batch of events."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from uuid import uuid4

import msgspec

from penstock.connectors import cloudevents
from penstock.connectors.batch import Batch, Partition
from penstock.connectors.cloudevents import Attributes, media_type
from penstock.connectors.event import Event
from penstock.connectors.http_answer import LINES
from penstock.errors import BadEvent

# What no event carries on: secrets, which would end in dead letters, and what concerns the connection alone.
_PRIVATE = {"authorization", "cookie", "idempotency-key", "proxy-authorization"}
_TRANSPORT = {
    "accept",
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "transfer-encoding",
    "user-agent",
}
_LEFT_OUT = _PRIVATE | _TRANSPORT
_KINDS = {
    "": "json",
    "application/json": "json",
    "application/octet-stream": "json",  # for a `decode=` of the user's own
    "application/jsonl": "lines",
    "application/jsonlines": "lines",
    "application/ndjson": "lines",
    LINES: "lines",
    cloudevents.STRUCTURED: "structured",
    cloudevents.BATCH: "batch",
}


class HttpBatch(Batch):
    """The events of one request. `waiters` are the senders that wait for its end."""

    __slots__ = ("_attributes", "_bodies", "_headers", "_id", "_path", "body", "key", "many", "waiters")

    def __init__(
        self,
        partition: Partition,
        kind: str,
        body: bytes,
        headers: Mapping[str, str],
        path: str,
        *,
        changed: Callable[[Batch], None],
        received: float,
    ) -> None:
        """Raises `BadEvent` where the body should hold many events and is not even a list."""
        self.body = body
        self.many = kind in ("lines", "batch")
        self.waiters: list[asyncio.Future[bool]] = []
        self._headers = headers
        self._path = path
        self._bodies: list[bytes] | None = None
        self._attributes: dict[int, Attributes] = {}
        values = self._values(kind)
        super().__init__(partition, values, changed=changed, waited=True, received=received)
        self.key = headers.get("Idempotency-Key", "")
        self._id = self.key
        if self._attributes:
            keys = [self._attribute(index, "partitionkey") for index in range(len(values))]
            self.keys = keys if any(keys) else None
            if not self.key and not self.many:
                self.key = f"{self._attributes[0].source} {self._attributes[0].id}"

    def _values(self, kind: str) -> list[Any]:
        body = self.body
        if kind == "json":
            if "ce-specversion" not in self._headers:
                return [body]
            headers = {name.lower(): value for name, value in self._headers.items()}
            content_type = headers.pop("content-type", "")
            value, found = cloudevents.read(body, headers.items(), prefix="ce-", content_type=content_type)
            if found is not None:
                self._attributes[0] = msgspec.structs.replace(found, headers=_kept(found.headers))
            return [value]
        if kind == "lines":
            return [line for line in body.split(b"\n") if line and not line.isspace()]
        if kind == "structured":
            value, found = cloudevents.read(body, content_type=cloudevents.STRUCTURED)
            if found is not None:
                self._attributes[0] = found
            return [value]
        values: list[Any] = []
        self._bodies = []
        for value, found, whole in cloudevents.unwrap_batch(body):
            if found is not None:
                self._attributes[len(values)] = found
            values.append(value)
            self._bodies.append(whole)
        return values

    def event(self, index: int) -> Event:
        data = self.values[index]
        if isinstance(data, BadEvent):
            data = self._bodies[index] if self._bodies is not None else self.body
        found = self._attributes.get(index)
        if found is not None:
            return found.event(data=data, topic=self._path, key=self._attribute(index, "partitionkey") or "")
        headers = _kept(self._headers)
        return Event(self.position(index), f"http:{self._path}", headers=headers, topic=self._path, data=data)

    def position(self, index: int) -> str:
        """The CloudEvent's id; else the `Idempotency-Key`, or an id given on arrival."""
        found = self._attributes.get(index)
        if found is not None:
            return found.id
        if not self._id:
            self._id = uuid4().hex
        return f"{self._id}-{index:05d}" if self.many else self._id

    def _attribute(self, index: int, name: str) -> str | None:
        found = self._attributes.get(index)
        return found.headers.get(name) if found is not None else None


@lru_cache(maxsize=256)
def kind_of(content_type: str) -> str:
    """How a body of this content type is read: `json`, `lines`, `structured` or `batch`. Raises `BadEvent` (415).

    >>> kind_of("application/vnd.payment+json; charset=utf-8")
    'json'
    """
    media = media_type(content_type)
    found = _KINDS.get(media) or ("json" if media.endswith("+json") and "cloudevents" not in media else "")
    if not found:
        known = "application/json, application/x-ndjson, application/cloudevents+json or -batch+json"
        raise BadEvent(f"content type {content_type!r} is not understood: send {known}", status=415)
    charset = content_type.lower().partition("charset=")[2].partition(";")[0].strip(" \"'")
    if charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise BadEvent(f"charset {charset!r} is not understood: JSON is UTF-8", status=415)
    return found


def inflated(body: bytes, encoding: str, limit: int) -> bytes:
    """A body without its content encoding. Raises `BadEvent` where it is cut short, or larger than `limit`.

    >>> inflated(b"cut", "gzip", 1000)
    Traceback (most recent call last):
    penstock.errors.BadEvent: the body is not valid gzip
    """
    if encoding.lower() not in ("gzip", "x-gzip", "deflate"):
        raise BadEvent(f"content encoding {encoding!r} is not understood: send gzip, deflate or none", status=415)
    # 32: either of the two formats, as the header of the data says.
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        found = inflater.decompress(body, limit + 1)
    except zlib.error:
        found = b""
    if len(found) > limit:
        raise BadEvent(too_large(limit), status=413)
    if not inflater.eof or inflater.unused_data:
        raise BadEvent(f"the body is not valid {encoding}")
    return found


def too_large(limit: int) -> str:
    """What a sender of more than `limit` bytes is told."""
    return f"the body is larger than {limit} bytes (PENSTOCK_HTTP_LIMIT)"


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items() if name.lower() not in _LEFT_OUT}
