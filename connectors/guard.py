"""The guard around every update of state: each event makes it once, whatever is repeated, by whoever, in any order.

One hash of the store holds the state of one stage under one key, together with what the guard knows. Its fields,
layout 1:

| field | holds |
|---|---|
| `=` | the state, packed by the stage |
| `+` | its version: a text that is another one after each change |
| `@ORIGIN PLACE.PATH` | what the event at this position got, packed |
| `<ORIGIN` | the origin's floor and the server's second in which it was last seen: `0000000000000000042 1750000000` |
| `#ID .PATH` | the same for an event without a position: ten digits of the second in which it came, then what it got |
| `%` | how many fields there were after the last clearing up |

Whether an event was here before is asked in this order: its own entry says what it got (`repeat`); below the floor of
its origin it was here, but what it got is forgotten (`late`); else it is new. Comparing with the newest position alone
would be wrong: events of one origin may change one state in any order, where its key is not the order's key.

A floor may rise only to a place below which everything is finished, so nothing new can lie below it. Where the origin
has a watermark (`penstock.connectors.watermark`), it does not pass that either: a process may ask with a floor that it
learned from a store which has lost since what lies below. Entries below
their floor are cleared up when it rises, or, in a large hash, when there are twice as many as after the last time, so
that each costs the same however many there are. The floor of an origin that was not seen for `IDLE` seconds goes, and
its entries with it; entries by id go after the stage's own horizon. All times are the server's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha1
from typing import Literal, NamedTuple, TypeAlias, get_args

from penstock.connectors.command import Argument, encoded
from penstock.connectors.mark import Mark

LAYOUT = 1
"""What the fields mean; kept in the store beside the names of the stages."""

IDLE = 7 * 86_400
"""Seconds after which an origin of which nothing more came is forgotten."""

SMALL, SLACK = 64, 16
"""Fields up to which a hash is cleared up whenever a floor rises, and how many may gather anyway."""

Verdict: TypeAlias = Literal["applied", "repeat", "late", "conflict", "foreign"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


class Updated(NamedTuple):
    """What became of one update.

    - `applied`, `repeat`: `result` is what the event got, now or the first time.
    - `late`: it was made, and what it got is forgotten; `result` is the state as it is.
    - `conflict`: nothing was done; `result` is the state as it is, None where there is none, `version` its version.
    - `foreign`: the key holds something else; `result` is what the server says.
    """

    verdict: Verdict
    result: bytes | None
    version: bytes = b""


Kept: TypeAlias = dict[bytes, bytes]
Twin: TypeAlias = Callable[[Kept, Sequence[bytes]], bytes | Updated]


@dataclass(frozen=True)
class Body:
    """How state changes, inside the guard.

    `lua` is the body of a function: it finds the hash in `key`, its fields `=` and `+` in `value` and `version` (false
    where they are missing), the server's second in `now` and its own arguments from `ARGV[7]` on, and returns the
    result, or nil and an array that is the reply instead, having changed nothing. `twin` does the same to a dict, for
    the store in memory.
    """

    name: str
    lua: str
    twin: Twin

    @cached_property
    def script(self) -> str:
        """The whole script."""
        return f"{BEFORE}local function body()\n{self.lua}end\n{AFTER}"

    @cached_property
    def digest(self) -> str:
        """What the server knows the script by."""
        return sha1(self.script.encode(), usedforsecurity=False).hexdigest()


class Update(NamedTuple):
    """One update of the state under `key`, for the event of `mark`. Ids are remembered for `horizon` seconds."""

    key: str
    mark: Mark
    body: Body
    arguments: tuple[Argument, ...] = ()
    horizon: int = 86_400

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the script."""
        return (self.key, self.mark.watermarks) if self.mark.watermarks else (self.key,)

    @property
    def constants(self) -> tuple[Argument, ...]:
        """The guard's own arguments of the script."""
        mark = self.mark
        return mark.origin, mark.place, mark.path, mark.floor, mark.id, self.horizon


BEFORE = """\
local key, origin, place, floor = KEYS[1], ARGV[1], ARGV[2], ARGV[4]
local placed = origin ~= ''
local entry = placed and '@' .. origin .. ' ' .. place .. ARGV[3] or '#' .. ARGV[5] .. ' ' .. ARGV[3]
local found = redis.pcall('HMGET', key, entry, '<' .. origin, '=', '+', '%')
if found.err then return {4, found.err} end
local value, version = found[3], found[4]
if found[1] then return {1, placed and found[1] or string.sub(found[1], 11)} end
local was = found[2] and string.match(found[2], '^%S*') or ''
if placed and place < was then return {2, value} end
local now = tonumber(redis.call('TIME')[1])
"""

AFTER = f"""\
local result, refused = body()
if refused then return refused end
if placed then
  if floor > was and KEYS[2] then
    local mark = redis.call('HGET', KEYS[2], origin)
    local bound = mark and string.match(mark, '^%S*') or ''
    if bound < floor then floor = bound end
  end
  if floor < was then floor = was end
  redis.call('HSET', key, entry, result, '<' .. origin, floor .. ' ' .. now)
else
  redis.call('HSET', key, entry, string.format('%010d', now) .. result)
end
local count, last = redis.call('HLEN', key), tonumber(found[5] or '0')
if count < 2 * last + {SLACK} and (count > {SMALL} or not placed or floor <= was) then return {{0, result}} end
local all, floors, old = redis.call('HGETALL', key), {{}}, {{}}
for i = 1, #all, 2 do
  if string.sub(all[i], 1, 1) == '<' then
    local at, seen = string.match(all[i + 1], '^(%S*) (%d+)$')
    local idle = now - tonumber(seen) > {IDLE}
    floors[string.sub(all[i], 2)] = idle and '~' or at
    if idle then old[#old + 1] = all[i] end
  end
end
for i = 1, #all, 2 do
  local kind = string.sub(all[i], 1, 1)
  if kind == '@' then
    local from, at = string.match(all[i], '^@(.*) ([%d-]+)')
    local bound = floors[from]
    if bound and (bound == '~' or at < bound) then old[#old + 1] = all[i] end
  elseif kind == '#' and now - tonumber(string.sub(all[i + 1], 1, 10)) > tonumber(ARGV[6]) then
    old[#old + 1] = all[i]
  end
end
for i = 1, #old, 1000 do redis.call('HDEL', key, unpack(old, i, math.min(i + 999, #old))) end
redis.call('HSET', key, '%', count - #old)
return {{0, result}}
"""


def guard(kept: Kept, update: Update, now: int, watermarks: Mapping[bytes, bytes] | None = None) -> Updated:
    """The script, done to a dict: the store in memory answers as a server does."""
    mark = update.mark
    origin, place, path = mark.origin.encode(), mark.place.encode(), mark.path.encode()
    entry = b"@%b %b%b" % (origin, place, path) if origin else b"#%b %b" % (mark.id.encode(), path)
    found = kept.get(entry)
    if found is not None:
        return Updated("repeat", found if origin else found[10:])
    was = kept.get(b"<" + origin, b"").partition(b" ")[0]
    if origin and place < was:
        return Updated("late", kept.get(b"="))
    result = update.body.twin(kept, [encoded(one) for one in update.arguments])
    if isinstance(result, Updated):
        return result
    floor = mark.floor.encode()
    if mark.watermarks:
        floor = min(floor, (watermarks or {}).get(origin, b"").partition(b" ")[0])
    floor = max(floor, was)
    if origin:
        kept[entry] = result
        kept[b"<" + origin] = b"%b %d" % (floor, now)
    else:
        kept[entry] = b"%010d%b" % (now, result)
    count, last = len(kept), int(kept.get(b"%", b"0"))
    if count >= 2 * last + SLACK or (count <= SMALL and origin and floor > was):
        _clear(kept, now, update.horizon)
    return Updated("applied", result)


def _clear(kept: Kept, now: int, horizon: int) -> None:
    count = len(kept)
    floors: dict[bytes, bytes | None] = {}
    for name, value in kept.items():
        if name[:1] == b"<":
            at, _, seen = value.partition(b" ")
            floors[name[1:]] = None if now - int(seen) > IDLE else at
    old = [b"<" + origin for origin, bound in floors.items() if bound is None]
    for name, value in kept.items():
        if name[:1] == b"@":
            origin, _, rest = name[1:].rpartition(b" ")
            bound = floors.get(origin, b"")
            if bound is None or rest.partition(b".")[0] < bound:
                old.append(name)
        elif name[:1] == b"#" and now - int(value[:10]) > horizon:
            old.append(name)
    for name in old:
        del kept[name]
    kept[b"%"] = b"%d" % (count - len(old))


def _fold(kept: Kept, arguments: Sequence[bytes]) -> bytes | Updated:
    expected, version, value = arguments
    if kept.get(b"+", b"") != expected:
        return Updated("conflict", kept.get(b"="), kept.get(b"+", b""))
    kept[b"="], kept[b"+"] = value, version
    return value


FOLD = Body(
    "fold",
    """\
if (version or '') ~= ARGV[7] then return nil, {3, value, version or ''} end
redis.call('HSET', key, '=', ARGV[9], '+', ARGV[8])
return ARGV[9]
""",
    _fold,
)
"""Puts a value in the place of another, if the version is still the expected one (empty: there is none yet).

Arguments: the expected version, the new one, the new value. With `UNKNOWN` as the expected version it only reads.
"""

UNKNOWN = "?"
"""A version that no state has."""


def answered(found: Sequence[bytes | int | None]) -> Updated:
    """A script's reply as an `Updated`."""
    verdict, result, *rest = found
    assert isinstance(verdict, int)
    assert result is None or isinstance(result, bytes)
    version = rest[0] if rest else b""
    assert isinstance(version, bytes)
    return Updated(VERDICTS[verdict], result, version)
