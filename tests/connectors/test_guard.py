"""The guard under any interleaving: each event once, whatever is repeated, by whoever, in any order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.connectors.guard import FOLD, IDLE, UNKNOWN, Kept, Update, Updated, guard
from penstock.connectors.mark import Mark

ORIGINS, PLACES, KEYS = 2, 12, 2

steps = st.one_of(
    st.tuples(st.just("deliver"), st.integers(0, ORIGINS - 1), st.integers(0, PLACES - 1), st.integers(0, PLACES)),
    st.tuples(st.just("commit"), st.integers(0, ORIGINS - 1), st.just(0), st.just(0)),
    st.tuples(st.just("forget"), st.just(0), st.just(0), st.just(0)),
)


class World:
    """Two partitions whose events change two states in any order; writers that crash, repeat and lag behind."""

    def __init__(self) -> None:
        self.kept: list[Kept] = [{} for _ in range(KEYS)]
        self.cached: list[tuple[str, int]] = [(UNKNOWN, 0)] * KEYS
        self.committed = [0] * ORIGINS
        self.got: dict[tuple[int, int], bytes] = {}
        self.number = 0

    def deliver(self, origin: int, place: int, behind: int) -> None:
        """One writer has this event, and knows the floor as it was some commits ago."""
        floor = max(self.committed[origin] - behind, 0)
        mark = Mark(f"o/{origin}", f"{place:019d}", floor=f"{floor:019d}")
        key = place % KEYS
        updated = self.fold(key, mark)
        first = self.got.get((origin, place))
        if first is None:
            assert updated.verdict == "applied"
            self.got[origin, place] = updated.result or b""
        elif updated.verdict == "late":
            assert place < self.committed[origin], "only what is confirmed is forgotten"
        else:
            assert updated == Updated("repeat", first)

    def fold(self, key: int, mark: Mark) -> Updated:
        while True:
            self.number += 1
            expected, count = self.cached[key]
            version = f"v{self.number}"
            update = Update(f"k{key}", mark, FOLD, (expected, version, b"%d" % (count + 1)))
            updated = guard(self.kept[key], update, 1_750_000_000 + self.number)
            if updated.verdict == "conflict":
                self.cached[key] = (updated.version.decode(), int(updated.result or b"0"))
                continue
            self.cached[key] = (version, count + 1) if updated.verdict == "applied" else (UNKNOWN, 0)
            return updated

    def commit(self, origin: int) -> None:
        """The contiguous finished prefix."""
        while (origin, self.committed[origin]) in self.got:
            self.committed[origin] += 1

    def forget(self) -> None:
        """Another process goes on: it knows nothing of the states."""
        self.cached = [(UNKNOWN, 0)] * KEYS


@given(st.lists(steps, max_size=150))
def test_each_event_counts_once_and_no_floor_passes_one_that_does_not(
    given_steps: list[tuple[str, int, int, int]],
) -> None:
    world = World()
    for kind, origin, place, behind in given_steps:
        if kind == "deliver":
            world.deliver(origin, place, behind)
        elif kind == "commit":
            world.commit(origin)
        else:
            world.forget()
    for key, kept in enumerate(world.kept):
        counted = sum(place % KEYS == key for _, place in world.got)
        assert int(kept.get(b"=", b"0")) == counted
        for name, value in kept.items():
            if name[:1] == b"<":
                assert int(value.partition(b" ")[0] or b"0") <= world.committed[int(name[-1:])]


def test_what_is_idle_is_forgotten() -> None:
    kept: Kept = {}

    def update(mark: Mark, expected: str, version: str, now: int) -> str:
        return guard(kept, Update("k", mark, FOLD, (expected, version, b"1"), horizon=100), now).verdict

    assert update(Mark("old/0", "1", floor="1"), "", "v0", 0) == "applied"
    assert update(Mark(id="1"), "v0", "v1", 0) == "applied"
    assert update(Mark(id="2"), "v1", "v2", IDLE - 50) == "applied"
    for number in range(20):
        update(Mark("new/0", f"{number:02d}", floor=f"{number:02d}"), f"v{number + 2}", f"v{number + 3}", IDLE)
    assert b"#1 " not in kept, "older than its horizon"
    assert b"#2 " in kept
    assert b"<old/0" in kept
    update(Mark("new/0", "20", floor="20"), "v22", "v23", IDLE + 1)
    assert not any(b"old/0" in name for name in kept)
