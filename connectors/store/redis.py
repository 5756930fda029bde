"""The store in Redis or Valkey: keyed state over one multiplexed connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha1
from typing import Any, cast

from penstock.connectors.site import Site
from penstock.connectors.store.command import Argument, Prepared, pack
from penstock.connectors.store.connection import Connection, Statistics
from penstock.connectors.store.durability import Durability, ask
from penstock.connectors.store.guard import Swap
from penstock.connectors.store.log_scripts import AMEND, ENTRIES, REMOVE
from penstock.connectors.store.reply import ReplyError

APPEND = """\
local place = redis.call('HGET', KEYS[2], ARGV[1])
if not place then
  place = redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2))
  redis.call('HSET', KEYS[2], ARGV[1], place)
end
return place
"""
"""Appends an entry under an id unless the id is known, in one step of the server; the place either way."""

SWAP = """\
local call, pcall, unpack, tonumber, denied, extra, at = redis.call, redis.pcall, unpack, tonumber, {}, {}, 3
local more, marks = tonumber(ARGV[2]), KEYS[ARGV[1] + 1]
while ARGV[more] do
  extra[tonumber(ARGV[more])] = more
  more = more + 3 + 2 * ARGV[more + 1] + ARGV[more + 2]
end
for i = 1, tonumber(ARGV[1]) do
  local fields, also = tonumber(ARGV[at + 1]), extra[i]
  local fine = (pcall('HGET', KEYS[i], '+') or '') == ARGV[at]
  for j = also and also + 3 or 1, also and also + 2 + 2 * ARGV[also + 1] or 0, 2 do
    local mark = fine and call('HGET', marks, ARGV[j])
    fine = mark and string.match(mark, '^%S*') >= ARGV[j + 1]
  end
  if fine then
    if fields > 0 then call('HSET', KEYS[i], unpack(ARGV, at + 2, at + 1 + fields)) end
    if also then
      local first = also + 3 + 2 * ARGV[also + 1]
      local last = first + ARGV[also + 2] - 1
      for j = first, last, 1000 do call('HDEL', KEYS[i], unpack(ARGV, j, math.min(j + 999, last))) end
    end
  else
    denied[#denied + 1] = i
  end
  at = at + 2 + fields
end
return denied
"""
"""Changes hashes, each if its version is the expected one and no floor above its watermark; the numbers of the others.

The arguments: how many hashes; where the last part begins; for each hash its version, the number of its fields and
their values, and these. The last part is for those with floors or fields that go: number, floors, fields, and these.
"""

TOGETHER = 250
"""Hashes that one script changes at most: while it runs, the server does nothing else."""

_SWAP = sha1(SWAP.encode(), usedforsecurity=False).hexdigest()

WRITE_ON = """\
local server = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if server == ARGV[1] and ARGV[2] then redis.call('HSET', KEYS[1], unpack(ARGV, 2)) end
return server
"""
"""Sets fields of a hash if the server's run id is the expected one; the run id."""

_MAP = Prepared(("HGETALL",))


class RedisStore:
    """`Store` on the server that `PENSTOCK_STORE` names. Keys are used as they are given.

    Reads, `write`, `settle`, `write_hash`, `write_on`, `swap`, `delete` and appends with an `id` are sent again when
    their reply is lost, for doing them twice is doing them once; an append without one then raises `Unavailable`, its
    outcome unknown.

    An append with an `id` is one script: the hash `{stream}:ids` (that name with its braces, so that a cluster keeps
    both keys together) holds the place of each id; an id that is there is not appended again. What `amend` puts in the
    place of an entry is in the hash `{stream}:amended`. Both live as long as their stream: `delete` removes all three.

        store = RedisStore(Site(Settings({"PENSTOCK_STORE": "redis://localhost:6379/0"})))
        await store.open()
        await store.write_hash("card:7", {"mean": 41.5, "limit": 500})
        await store.read_hashes(["card:7"], ["mean", "limit"])   # [[b"41.5", b"500"]]
    """

    def __init__(self, site: Site) -> None:
        self.connection = Connection(site.settings.store().url, name="store")
        self._ahead = 0.0

    def clock(self) -> float:
        return time.monotonic()

    def second(self) -> int:
        return int(time.time() + self._ahead)

    @property
    def problem(self) -> str | None:
        """None while the server answers, else one line that says why not."""
        return self.connection.problem

    def statistics(self) -> Statistics:
        """What the connection has done, and what waits on it."""
        return self.connection.statistics()

    async def open(self) -> None:
        """Connect. Raises `Unavailable` where the server does not answer, `ConfigError` where it refuses the login."""
        await self.connection.open()
        [[second, _]] = await self.connection.ask(pack("TIME"), again=True)
        self._ahead = int(second) - time.time()

    async def close(self) -> None:
        """Leave. Safe to call twice."""
        await self.connection.close()

    def watch(self, connected: Callable[[], None]) -> None:
        """Have this called on the loop whenever a lost connection has come back."""
        self.connection.connected = connected

    async def durability(self) -> Durability:
        return await ask(self.connection)

    async def read(self, keys: Sequence[str]) -> list[bytes | None]:
        if not keys:
            return []
        [values] = await self.connection.ask(pack("MGET", *keys), again=True)
        return cast("list[bytes | None]", values)

    def read_hashes(self, keys: Sequence[str], fields: Sequence[str]) -> Awaitable[list[list[bytes | None] | None]]:
        return self._each(_hash(tuple(fields)), keys)

    def read_maps(self, keys: Sequence[str]) -> Awaitable[list[dict[bytes, bytes] | None]]:
        return self._each(_MAP, keys)

    async def write(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        expiry: tuple[Argument, ...] = () if ttl is None else ("PX", _milliseconds(ttl))
        await self.connection.ask(pack("SET", key, value, *expiry), again=True)

    async def write_many(self, wanted: Sequence[tuple[str, bytes, float]]) -> None:
        if wanted:
            commands = [pack("SET", key, value, "PX", _milliseconds(ttl)) for key, value, ttl in wanted]
            await self.connection.ask(b"".join(commands), len(commands), again=True)

    async def settle(self, key: str, value: bytes, ttl: float) -> bytes | None:
        [found] = await self.settle_many([(key, value, ttl)])
        return found

    async def settle_many(self, wanted: Sequence[tuple[str, bytes, float]]) -> list[bytes | None]:
        if not wanted:
            return []
        commands = [pack("SET", key, value, "NX", "GET", "PX", _milliseconds(ttl)) for key, value, ttl in wanted]
        return await self.connection.ask(b"".join(commands), len(commands), again=True)

    async def write_hash(self, key: str, values: Mapping[str, bytes | str | int | float]) -> None:
        if values:
            await self.connection.ask(pack("HSET", key, *_flat(values)), again=True)

    async def write_on(self, server: str, key: str, values: Mapping[str, bytes | str]) -> str:
        [found] = await self.connection.ask(pack("EVAL", WRITE_ON, 1, key, server, *_flat(values)), again=True)
        return cast(bytes, found).decode()

    async def swap(self, swaps: Sequence[Swap]) -> list[bool]:
        if not swaps:
            return []
        parts = [_swapping(swaps[at : at + TOGETHER]) for at in range(0, len(swaps), TOGETHER)]
        replies = await self.connection.ask(b"".join(parts), len(parts), again=True, forgive="NOSCRIPT")
        if None in replies:  # a server that has not seen the script yet
            unknown = [at for at, one in enumerate(replies) if one is None]
            packed = pack("SCRIPT", "LOAD", SWAP) + b"".join([parts[at] for at in unknown])
            _, *taught = await self.connection.ask(packed, 1 + len(unknown), again=True)
            for at, one in zip(unknown, taught, strict=True):
                replies[at] = one
        agreed = [True] * len(swaps)
        for at, denied in enumerate(replies):
            for number in denied:
                agreed[at * TOGETHER + number - 1] = False
        return agreed

    async def delete(self, keys: Sequence[str]) -> int:
        if not keys:
            return 0
        beside = [name for key in keys for name in (_beside(key, "ids"), _beside(key, "amended"))]
        count, _ = await self.connection.ask(pack("DEL", *keys) + pack("DEL", *beside), 2, again=True)
        return int(count)

    async def append(self, stream: str, entry: Mapping[str, bytes], *, id: str = "") -> str:
        if id:
            command = pack("EVAL", APPEND, 2, stream, _beside(stream, "ids"), id, *_flat(entry))
        else:
            command = pack("XADD", stream, "*", *_flat(entry))
        [place] = await self.connection.ask(command, again=bool(id))
        return cast(bytes, place).decode()

    async def entries(self, stream: str, *, after: str = "", count: int = 100) -> list[tuple[str, dict[str, bytes]]]:
        first = f"({after}" if after else "-"
        command = pack("EVAL", ENTRIES, 2, stream, _beside(stream, "amended"), first, count)
        [found] = await self.connection.ask(command, again=True)
        return [(place.decode(), _entry(flat)) for place, flat in found]

    async def amend(self, stream: str, id: str, entry: Mapping[str, bytes]) -> bool:
        keys = (_beside(stream, "ids"), _beside(stream, "amended"))
        [there] = await self.connection.ask(pack("EVAL", AMEND, 2, *keys, id, *_flat(entry)), again=True)
        return bool(there)

    async def remove(self, stream: str, ids: Sequence[str]) -> int:
        if not ids:
            return 0
        keys = (stream, _beside(stream, "ids"), _beside(stream, "amended"))
        [count] = await self.connection.ask(pack("EVAL", REMOVE, 3, *keys, *ids), again=True)
        return int(count)

    async def length(self, stream: str) -> int:
        [count] = await self.connection.ask(pack("XLEN", stream), again=True)
        return int(count)

    async def size(self, stream: str) -> int:
        packed = pack("MEMORY", "USAGE", stream) + pack("MEMORY", "USAGE", _beside(stream, "amended"))
        try:
            found = await self.connection.ask(packed, 2, again=True)
        except ReplyError:  # a server, or a user of it, that does not tell
            return 0
        return sum(int(one or 0) for one in found)

    def _each(self, command: Prepared, keys: Sequence[str]) -> asyncio.Future[list[Any]]:
        if not keys:
            nothing: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
            nothing.set_result([])
            return nothing
        return self.connection.ask(command.pack_many(keys), len(keys), again=True, forgive="WRONGTYPE")


@lru_cache(maxsize=256)
def _hash(fields: tuple[str, ...]) -> Prepared:
    return Prepared(("HMGET",), fields)


def _swapping(swaps: Sequence[Swap]) -> bytes:
    keys = [swap[0] for swap in swaps]
    arguments: list[Argument] = [len(swaps), 0]
    more: list[Argument] = []
    for number, (_, expected, fields, gone, floors) in enumerate(swaps, 1):
        arguments += (expected, len(fields))
        arguments += fields
        if gone or floors:
            more += (number, len(floors), len(gone))
            for floor in floors:
                more += (floor.origin, floor.place)
                keys[len(swaps) :] = (floor.watermarks,)
            more += gone
    arguments[1] = len(arguments) + 1
    return pack("EVALSHA", _SWAP, len(keys), *keys, *arguments, *more)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _beside(stream: str, what: str) -> str:
    """A key that belongs to a stream, and lives where the stream does."""
    return f"{stream}:{what}" if "{" in stream else f"{{{stream}}}:{what}"


def _flat(pairs: Mapping[str, Argument]) -> Iterable[Argument]:
    return (part for pair in pairs.items() for part in pair)


def _entry(flat: Sequence[bytes]) -> dict[str, bytes]:
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
