"""Events that came over HTTP as entries of a stream: appended once, and described again exactly as they came."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from penstock.connectors.event import Event
from penstock.connectors.header import text
from penstock.connectors.http.request import Exchange
from penstock.connectors.redis import scripts as scripts
from penstock.connectors.redis.entry import DATA, KEY, StreamBatch, stream_key
from penstock.connectors.store.command import Argument

EVENT = b"event"
"""The field that describes the event; the payload is in `data`."""

STORED, IS_FULL, OTHER = 1, 0, -1

APPEND = """\
if KEYS[2] then
  local known = redis.call('GET', KEYS[2])
  if known then return known == ARGV[2] and 1 or -1 end
end
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('XADD', KEYS[1], '*', unpack(ARGV, 4))
if KEYS[2] then redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3]) end
return 1
"""
"""Append an entry unless its id has come: under the same digest it is there already, under another it is refused."""


class Described(msgspec.Struct, omit_defaults=True):
    """What an event says about itself beside its payload, and what the path's braces caught."""

    id: str
    source: str
    type: str = ""
    subject: str = ""
    time: float = 0.0
    topic: str = ""
    headers: dict[str, str] = {}
    captures: dict[str, str] = {}


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Described).decode


def appending(stream: str, full: int, exchange: Exchange, at: int, hold: float) -> bytes:
    """The command that appends event number `at` of a request, unless the stream has `full` entries.

    It may be sent twice where the event came with an id.
    """
    event = exchange.event(at)
    described = Described(
        event.id,
        event.source,
        event.type,
        event.subject,
        event.time,
        event.topic,
        dict(event.headers),
        exchange.captures,
    )
    fields: list[Argument] = [EVENT, _encode(described)]
    if event.data is not None:
        fields += (DATA, event.data)
    if event.key:
        fields += (KEY, event.key)
    key = stream_key(stream, 0)
    keys: tuple[str, ...] = (key,)
    if exchange.identified(at):
        name = blake2b(f"{event.source}\0{event.id}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        keys = (key, f"{{{key}}}:came:{name}")
    digest = blake2b(f"{event.topic}\0".encode("utf-8", "surrogatepass"), digest_size=16)
    digest.update(event.data or b"")
    return scripts.run(APPEND, keys, full, digest.digest(), max(1, round(hold * 1000)), *fields)


class HttpStreamBatch(StreamBatch):
    """Entries that describe themselves as the requests did that brought them."""

    __slots__ = ("described",)

    described: list[Described | None]

    def _describe(self) -> None:
        self.described = [_described(flat) for _, flat in self.entries]
        if any(one is not None and one.captures for one in self.described):
            self.captures = [{} if one is None else one.captures for one in self.described]

    def event(self, index: int) -> Event:
        one = self.described[index]
        if one is None:  # somebody has added it to the stream by hand
            return super().event(index)
        key: Any = self.keys[index] if self.keys is not None else None
        return Event(
            one.id, one.source, one.type, one.subject, one.time, text(key), one.topic, one.headers, self.values[index]
        )

    def position(self, index: int) -> str:
        one = self.described[index]
        return super().position(index) if one is None else one.id

    def origin(self, index: int) -> str:
        """None: a sender's repeat has another place in the stream, and the same id, which therefore decides."""
        return ""

    def place(self, index: int) -> str:
        return ""

    def floor(self) -> str:
        return ""


def _described(flat: Sequence[bytes]) -> Described | None:
    found = dict(zip(flat[::2], flat[1::2], strict=True)).get(EVENT)
    try:
        return None if found is None else _decode(found)
    except msgspec.DecodeError:
        return None
