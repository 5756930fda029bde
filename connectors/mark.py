"""Who asks a stage for an update of state: what a guard needs to make it once, however often it is asked for."""

from __future__ import annotations


class Mark:
    """One event, or one child of it, at the door of a stage that updates state.

    - `origin`, `place`: the identity of the event where its source has positions (`Batch.origin`, `Batch.place`).
    - `id`: its identity where it has none, or where a position says too little: an event id with the name of its
      source, or the id of the dead letter that is replayed. Then `origin` and `place` are empty.
      With none of the three, the update was made and counts for nothing: its stage only reads.
    - `path`: where the event became several on its way: the numbers of branches and of a generator's children, so that
      one event may change one key several times. `""`, or `".0.3"`.
    - `floor`: a place of the origin below which everything has been confirmed, so that the guard may forget it. It must
      not be above the place of any event that is still to come, so records that were set aside (spilled) and count as
      confirmed come back under an origin of their own.
    - `watermarks`: the key of the watermarks in the same store, where the origin has one: the floor does not pass it. A
      store that has lost something does not know what the floor stands for.
    - `entry`: all of that as the name under which a guard keeps what the event got.
    - `results`: what the event's updates came to, packed, by stage and path (`Batch.updates`). A stage takes what is
      there instead of updating, and adds what it has done: a dead letter carries this to its replay.

    >>> Mark("payments/3", "0000000000000000042", path=".1")
    Mark('payments/3', '0000000000000000042', path='.1', floor='', id='')
    """

    __slots__ = ("entry", "floor", "id", "origin", "path", "place", "results", "watermarks")

    def __init__(
        self,
        origin: str = "",
        place: str = "",
        path: str = "",
        floor: str = "",
        id: str = "",
        watermarks: str = "",
        results: dict[str, bytes] | None = None,
    ) -> None:
        self.origin = origin
        self.place = place
        self.path = path
        self.floor = floor
        self.id = id
        self.watermarks = watermarks
        self.results: dict[str, bytes] = {} if results is None else results
        self.entry = (f"@{origin} {place}{path}" if origin else f"#{id} {path}").encode()

    def __repr__(self) -> str:
        return f"Mark({self.origin!r}, {self.place!r}, path={self.path!r}, floor={self.floor!r}, id={self.id!r})"
