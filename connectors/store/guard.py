"""The guard around every update of state: each event makes it once, whatever is repeated, by whoever, in any order.

One hash of the store holds the state of one stage under one key, together with what the guard knows. Its fields,
layout 1:

| field | holds |
|---|---|
| `=` | the state, packed by the stage |
| `+` | its version: a text that is another one after each change |
| `@ORIGIN PLACE.PATH` | what the event at this position got, packed |
| `<ORIGIN` | the origin's floor and the store's second in which it was last seen: `0000000000000000042 1750000000` |
| `#ID .PATH` | the same for an event without a position: ten digits of the second in which it came, then what it got |

Whether an event was here before is asked in this order: its own entry says what it got; below the floor of its origin
it was here, but what it got is forgotten; else it is new. Comparing with the newest position alone would be wrong:
events of one origin may change one state in any order, where its key is not the order's key.

Who updates holds a copy of the hash (`Cell`), decides upon it, and has the store put the difference in place if the
version is still the one that it decided upon (`Swap`). Where somebody else was first, it reads the hash and decides
anew. So the store's part is one small step whatever the state is, and an update needs no reading where one process
changes a key again and again, as it does where the state's key is the order's.

What an update writes is the value, the version and the event's entry, and nothing else: a floor is of use only for
entries that are no longer there. So it is noted in the step that clears entries up, which is due when there are twice
as many fields as after the last time, so that each costs the same however many there are.

A floor may rise only to a place below which everything is finished, so nothing new can lie below it. Where the origin
has a watermark (`penstock.connectors.watermark`), it does not pass that either: the store denies a swap in which it
would, for it may have lost since what the asking process knows to be finished. Who is denied asks again without raising
the floor. The floor of an origin that was not seen for `IDLE` seconds goes, and its entries with it;
entries by id go after the stage's own horizon. All times are the store's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from penstock.connectors.mark import Mark
from penstock.errors import BadEvent

LAYOUT = 1
"""What the fields mean; kept in the store beside the names of the stages."""

IDLE = 7 * 86_400
"""Seconds after which an origin of which nothing more came is forgotten."""

OFTEN = 3600
"""Seconds for which it need not be noted again that more came of an origin."""

SLACK = 16
"""Fields that may gather before anything is cleared up."""

VALUE, VERSION = b"=", b"+"


class Floor(NamedTuple):
    """A floor that rises: to this place of this origin, whose watermark is in the hash `watermarks` (`""` for none)."""

    watermarks: str
    origin: str
    place: str


class Swap(NamedTuple):
    """Put `fields` into the hash `key` and take `gone` out of it, if its version is still `expected`, and if no
    watermark of `floors` is below them.

    `fields` are names and values in turn. An `expected` version that is empty means that there is no version yet.
    Without fields it only asks.
    """

    key: str
    expected: bytes
    fields: Sequence[bytes]
    gone: Sequence[bytes] = ()
    floors: Sequence[Floor] = ()


class Origin:
    """What a cell knows of one origin: `floor` and `second` as they are noted, `told` by the last event that came."""

    __slots__ = ("floor", "second", "told", "watermarks")

    def __init__(self, floor: str = "", second: int = -IDLE) -> None:
        self.floor = self.told = floor
        self.second = second
        self.watermarks = ""


class Cell:
    """One hash as this process takes it to be: as the store said, and as its own updates leave it.

    An update is decided upon the one before it, and sent without waiting for that one's answer. When one finds another
    version, so do all that were decided upon it, and the cell is of no more use.

    - `pending`: swaps that were sent and not answered. While there are none, the store has what stands here.

    >>> cell = Cell("spent:card-7", {})
    >>> cell.seen(Mark("payments/0", "17")) is None
    True
    >>> cell.put(Mark("payments/0", "17"), b"1", b"v1", now=1_750_000_000, horizon=60).expected
    b''
    >>> cell.seen(Mark("payments/0", "17"))
    b'1'
    """

    __slots__ = ("_origins", "_room", "fields", "key", "pending")

    def __init__(self, key: str, fields: dict[bytes, bytes]) -> None:
        self.key = key
        self.fields = fields
        self.pending = 0
        self._room = SLACK
        self._origins: dict[str, Origin] = {}
        for name, value in fields.items():
            if name[:1] == b"<":
                floor, _, second = value.decode().partition(" ")
                self._origins[name[1:].decode()] = Origin(floor, int(second))

    @property
    def value(self) -> bytes | None:
        """The state, None where there is none yet."""
        return self.fields.get(VALUE)

    def seen(self, mark: Mark) -> bytes | None:
        """What the event got if it was here before, or the state as it is where that is forgotten; None for a new one.

        Raises `BadEvent` where it was here and the state is gone.
        """
        fields = self.fields
        got = fields.get(mark.entry)
        if got is not None:
            return got if mark.origin else got[10:]
        known = self._origins.get(mark.origin)
        if known is None or mark.place >= known.floor:
            return None
        if VALUE not in fields:
            raise BadEvent(f"{self.key}: the event was counted before, and the state is gone", status=422)
        return fields[VALUE]

    def put(self, mark: Mark, value: bytes, version: bytes, *, now: int, horizon: int) -> Swap:
        """The state as this new event leaves it. Ids are remembered for `horizon` seconds."""
        fields, entry = self.fields, mark.entry
        expected = fields.get(VERSION, b"")
        fields[VALUE], fields[VERSION] = value, version
        fields[entry] = got = value if mark.origin else b"%010d%b" % (now, value)
        changed: tuple[bytes, ...] = (VALUE, value, VERSION, version, entry, got)
        if mark.origin:
            known = self._origins.get(mark.origin)
            if known is None:
                known = self._origins[mark.origin] = Origin()
            known.told, known.watermarks = mark.floor, mark.watermarks
            if now - known.second > OFTEN:
                known.second = now
                changed += self._note(mark.origin, known)
        if len(fields) < self._room:
            return Swap(self.key, expected, changed)
        floors = self._raise()
        for floor in floors:
            changed += self._note(floor.origin, self._origins[floor.origin])
        gone = self._clear(now, horizon)
        return Swap(self.key, expected, changed, gone, [floor for floor in floors if floor.watermarks])

    def check(self) -> Swap:
        """Ask whether the store has what stands here."""
        return Swap(self.key, self.fields.get(VERSION, b""), ())

    def _note(self, origin: str, known: Origin) -> tuple[bytes, bytes]:
        """Write down an origin's floor, and when it was last seen."""
        name, value = _bound(origin), b"%b %d" % (known.floor.encode(), known.second)
        self.fields[name] = value
        return name, value

    def _raise(self) -> list[Floor]:
        """The floors that rise, to what was told by the last event of each origin."""
        rises = []
        for origin, known in self._origins.items():
            if known.told > known.floor:
                known.floor = known.told
                rises.append(Floor(known.watermarks, origin, known.floor))
        return rises

    def _clear(self, now: int, horizon: int) -> list[bytes]:
        """Let go of the entries below their floors, and of all that is too old: their names."""
        fields, origins = self.fields, self._origins
        idle = [origin for origin, known in origins.items() if now - known.second > IDLE]
        gone = [_bound(origin) for origin in idle]
        for name, value in fields.items():
            if name[:1] == b"@":
                origin, _, rest = name[1:].decode().rpartition(" ")
                known = origins.get(origin)
                if origin in idle or (known is not None and rest.partition(".")[0] < known.floor):
                    gone.append(name)
            elif name[:1] == b"#" and now - int(value[:10]) > horizon:
                gone.append(name)
        for name in gone:
            fields.pop(name, None)
        for origin in idle:
            del origins[origin]
        self._room = 2 * len(fields) + SLACK
        return gone


@lru_cache(maxsize=1024)
def _bound(origin: str) -> bytes:
    """The field of an origin's floor."""
    return b"<" + origin.encode()
