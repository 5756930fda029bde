"""Requests as events, and as batches of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any
from uuid import uuid4

import msgspec
from aiohttp.web import Response

from penstock.connectors.batch import Batch, Partition
from penstock.connectors.cloudevents.attributes import Attributes
from penstock.connectors.cloudevents.envelope import unwrap_batch
from penstock.connectors.cloudevents.modes import BATCH, STRUCTURED, read
from penstock.connectors.event import Event
from penstock.connectors.header import media_type
from penstock.connectors.http.answer import LINES
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
    STRUCTURED: "structured",
    BATCH: "batch",
}


class Exchange:
    """One request: what it holds, and the senders that wait for its end. Raises `BadEvent` for a list that is none.

    `key` tells a repeat of it from another request, empty where nothing does; `declared` where the sender gave it as
    `Idempotency-Key`. `index` is where its first event stands in its batch, `answer` what was said to it elsewhere.
    """

    __slots__ = (
        "_attributes",
        "_bodies",
        "_headers",
        "_id",
        "_kind",
        "_path",
        "answer",
        "arrived",
        "batch",
        "body",
        "captures",
        "declared",
        "index",
        "key",
        "many",
        "values",
        "waiters",
    )

    def __init__(
        self, kind: str, body: bytes, headers: Mapping[str, str], path: str, captures: dict[str, str], arrived: float
    ) -> None:
        self.body = body
        self.captures = captures
        self.arrived = arrived
        self.many = kind in ("lines", "batch")
        self.waiters: list[asyncio.Future[bool]] = []
        self.batch: HttpBatch | None = None
        self.index = 0
        self.answer: Callable[[], Response] | None = None
        self._kind = kind
        self._headers = headers
        self._path = path
        self._bodies: list[bytes] | None = None
        self._attributes: dict[int, Attributes] | None = None
        self._id = self.key = _clean(headers.get("Idempotency-Key", ""))
        self.declared = bool(self.key)
        self.values: list[Any]
        if kind == "json":
            self.values = [body] if "ce-specversion" not in headers else [self._binary()]
        elif kind == "lines":
            self.values = [line for line in body.split(b"\n") if line and not line.isspace()]
        else:
            self.values = [self._structured()] if kind == "structured" else self._batched()
        first = self._first()
        if not self.key and not self.many and first is not None:
            self.key = f"{first.source} {first.id}"

    @property
    def digest(self) -> bytes:
        """Of all that makes it this request: where it was sent, as what, and what it held."""
        whole = blake2b(f"{self._path}\0{self._kind}\0".encode("utf-8", "surrogatepass"), digest_size=16)
        whole.update(self.body)
        return whole.digest()

    def _first(self) -> Attributes | None:
        return (self._attributes or {}).get(0)

    def _binary(self) -> Any:
        headers = {name.lower(): _clean(value) for name, value in self._headers.items()}
        content_type = headers.pop("content-type", "")
        value, found = read(self.body, headers.items(), prefix="ce-", content_type=content_type)
        if found is not None:
            self._attributes = {0: msgspec.structs.replace(found, headers=_kept(found.headers))}
        return value

    def _structured(self) -> Any:
        value, found = read(self.body, content_type=STRUCTURED)
        if found is not None:
            self._attributes = {0: found}
        return value

    def _batched(self) -> list[Any]:
        values: list[Any] = []
        self._bodies, self._attributes = [], {}
        for value, found, whole in unwrap_batch(self.body):
            if found is not None:
                self._attributes[len(values)] = found
            values.append(value)
            self._bodies.append(whole)
        return values

    def event(self, at: int) -> Event:
        """Its event number `at`."""
        data = self.values[at]
        if isinstance(data, BadEvent):
            data = self._bodies[at] if self._bodies is not None else self.body
        if self._attributes and at in self._attributes:
            return self._attributes[at].event(data=data, topic=self._path, key=self.partition_key(at) or "")
        headers = _kept(self._headers)
        return Event(self.position(at), f"http:{self._path}", headers=headers, topic=self._path, data=data)

    def position(self, at: int) -> str:
        """The CloudEvent's id; else the `Idempotency-Key`, or an id given on arrival."""
        if self._attributes and at in self._attributes:
            return self._attributes[at].id
        if not self._id:
            self._id = uuid4().hex
        return f"{self._id}-{at:05d}" if self.many else self._id

    def identified(self, at: int) -> bool:
        """Whether its sender gave event number `at` an id, by which a repeat is known."""
        return self.declared or bool(self._attributes and at in self._attributes)

    def partition_key(self, at: int) -> str | None:
        """The CloudEvent's `partitionkey`, where there is one."""
        if self._attributes and at in self._attributes:
            return self._attributes[at].headers.get("partitionkey")
        return None


class HttpBatch(Batch):
    """The events of one request, or of several that hold one each. `open` are those that have not been answered."""

    __slots__ = ("exchanges", "open")

    def __init__(self, partition: Partition, exchanges: list[Exchange], changed: Callable[[Batch], None]) -> None:
        self.exchanges = exchanges
        self.open = exchanges
        for index, exchange in enumerate(exchanges):
            exchange.batch, exchange.index = self, index
        first = exchanges[0]
        values = first.values if len(exchanges) == 1 else [exchange.values[0] for exchange in exchanges]
        super().__init__(partition, values, changed=changed, waited=True, received=first.arrived)
        if first.captures:
            self.captures = [self._find(index)[0].captures for index in range(len(values))]
        if any(exchange._attributes for exchange in exchanges):
            keys = [exchange.partition_key(at) for exchange, at in map(self._find, range(len(values)))]
            self.keys = keys if any(keys) else None

    def _find(self, index: int) -> tuple[Exchange, int]:
        return (self.exchanges[index], 0) if len(self.exchanges) > 1 else (self.exchanges[0], index)

    def event(self, index: int) -> Event:
        exchange, at = self._find(index)
        return exchange.event(at)

    def position(self, index: int) -> str:
        exchange, at = self._find(index)
        return exchange.position(at)


def batches(partition: Partition, exchanges: list[Exchange], changed: Callable[[Batch], None]) -> list[HttpBatch]:
    """Requests as batches, in order: those of one event together, which is less work for who takes them."""
    found: list[HttpBatch] = []
    single: list[Exchange] = []
    for exchange in exchanges:
        if not exchange.many:
            single.append(exchange)
            continue
        if single:
            found.append(HttpBatch(partition, single, changed))
            single = []
        found.append(HttpBatch(partition, [exchange], changed))
    if single:
        found.append(HttpBatch(partition, single, changed))
    return found


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


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): _clean(value) for name, value in headers.items() if name.lower() not in _LEFT_OUT}


def _clean(value: str) -> str:
    """A header's value without what was not UTF-8 in it, of which aiohttp makes lone surrogates that none can write."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()
