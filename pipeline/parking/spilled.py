"""A record that was set aside in the store: how it is written there, and how it comes back."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from penstock.connectors import Batch, Partition
from penstock.connectors.event import Event
from penstock.pipeline.letters.again import event_of, value_of
from penstock.pipeline.letters.letters import Letter

Entry = Mapping[str, bytes]
"""An entry of the log: `letter` (the record whole, as JSON), `key` (the transport's own, `s` text, `b` bytes or `-`,
and then it), `partition`, `origin` and `place`."""


def identity(batch: Batch, index: int) -> str:
    """By which a record is set aside once, however often its source brings it."""
    place = batch.place(index)
    return f"{batch.origin(index)}|{place}" if place else batch.position(index)


def entry(letter: Letter, batch: Batch, index: int) -> Entry:
    """A record as it is written."""
    own = batch.keys[index] if batch.keys is not None else None
    key = b"-" if own is None else b"b" + own if isinstance(own, bytes) else b"s" + own.encode()
    return {
        "letter": msgspec.json.encode(letter),
        "key": key,
        "partition": msgspec.json.encode(batch.partition),
        "origin": batch.origin(index).encode(),
        "place": batch.place(index).encode(),
    }


class Spilled(Batch):
    """A record that was set aside: the same event at the same place, which its source has long confirmed.

    `id` is its identity in the log; `written` whether it is there already.
    """

    again = True

    __slots__ = ("_origin", "_place", "id", "letter", "written")

    def __init__(self, found: Entry, *, received: float, written: bool) -> None:
        self.letter = letter = msgspec.json.decode(found["letter"], type=Letter)
        key = found["key"]
        super().__init__(
            msgspec.json.decode(found["partition"], type=Partition),
            [value_of(letter)],
            keys=[None if key[:1] == b"-" else key[1:] if key[:1] == b"b" else key[1:].decode()],
            captures=[dict(letter.captures)] if letter.captures else None,
            received=received,
        )
        self.written = written
        self._origin = found["origin"].decode()
        self._place = found["place"].decode()
        self.id = identity(self, 0)

    @classmethod
    def read(cls, found: Entry, *, received: float) -> Spilled:
        """As it lies in the log."""
        return cls(found, received=received, written=True)

    def position(self, index: int) -> str:
        return self.letter.position

    def event(self, index: int) -> Event:
        return event_of(self.letter)

    def origin(self, index: int) -> str:
        return self._origin

    def place(self, index: int) -> str:
        return self._place
