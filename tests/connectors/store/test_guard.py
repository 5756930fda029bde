"""The guard: what it knows of events, and each event once under any interleaving, whatever is repeated, by whoever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.connectors.mark import Mark
from penstock.connectors.store.guard import IDLE, SLACK, VALUE, VERSION, Cell, Floor, Swap
from penstock.errors import BadEvent
from tests.connectors.store.guard_contract import at

NOW = 1_750_000_000


class Counted:
    """A cell that counts, and numbers its own versions."""

    def __init__(self, fields: dict[bytes, bytes] | None = None) -> None:
        self.cell = Cell("k", fields if fields is not None else {})
        self.number = 0

    def add(self, mark: Mark, now: int = NOW, horizon: int = 100) -> bytes:
        """What the event got, now or the first time."""
        got = self.cell.seen(mark)
        if got is None:
            self.number += 1
            got = b"%d" % (int(self.cell.value or b"0") + 1)
            self.cell.put(mark, got, b"v%d" % self.number, now=now, horizon=horizon)
        return got


def test_a_repeat_gets_what_it_got() -> None:
    counted = Counted()
    assert [counted.add(at(place)) for place in (1, 2, 1, 2, 3)] == [b"1", b"2", b"1", b"2", b"3"]


def test_the_parts_of_one_event_are_apart() -> None:
    counted = Counted()
    marks = [at(1), at(1, path=".0"), at(1, path=".1"), at(1, path=".0.1"), at(1, origin="payments/1"), at(11)]
    for _ in range(2):
        assert [counted.add(mark) for mark in marks] == [b"%d" % number for number in range(1, 7)]


def test_below_the_floor_it_was_here() -> None:
    counted = Counted()
    for place in range(4):
        counted.add(at(place))
    counted.add(at(4, floor=3))
    for number in range(SLACK):
        counted.add(at(5 + number, floor=3))
    assert counted.add(at(1)) == counted.cell.value, "what it got is forgotten"
    assert counted.add(at(3)) == b"4", "the floor itself is not below it"
    assert int(counted.add(at(1, origin="payments/1"))) == 6 + SLACK, "each origin has its own"
    counted.add(at(50, floor=1))
    assert counted.add(at(2)) == counted.cell.value, "a floor never sinks"


def test_an_event_that_was_here_while_the_state_is_gone() -> None:
    cell = Cell("k", {VERSION: b"v1", b"<payments/0": b"0000000000000000009 1750000000"})
    with pytest.raises(BadEvent, match="the state is gone"):
        cell.seen(at(1))


def test_an_event_without_a_position_is_known_by_its_id() -> None:
    counted = Counted()
    marks = [Mark(id="terminals#1"), Mark(id="terminals#2"), Mark(id="terminals#1", path=".1")]
    for _ in range(2):
        assert [counted.add(mark) for mark in marks] == [b"1", b"2", b"3"]


def test_a_window_that_stays_is_cleared_up_now_and_then() -> None:
    counted, size, most = Counted(), 200, 0
    for place in range(4 * size):
        counted.add(at(place, floor=max(place - size, 0)))
        most = max(most, len(counted.cell.fields))
    assert counted.cell.value == b"%d" % (4 * size)
    assert most <= 2 * (size + 4) + SLACK


def test_floors_are_noted_when_their_entries_go_and_not_before() -> None:
    cell, swaps = Cell("k", {}), list[Swap]()
    for place in range(12):
        origin = f"payments/{place % 2}"
        mark = Mark(origin, f"{place:02d}", floor=f"{place - 1:02d}" if place else "", watermarks="marks")
        swaps.append(cell.put(mark, b"1", b"v%d" % place, now=NOW, horizon=60))
    assert [len(swap.fields) // 2 for swap in swaps[:4]] == [4, 4, 3, 3], "an origin is noted when it is first seen"
    [clearing] = [swap for swap in swaps if swap.gone]
    at = swaps.index(clearing)
    assert clearing.floors == [Floor("marks", f"payments/{n}", f"{at - 1 - (at + n) % 2:02d}") for n in range(2)]
    assert set(clearing.gone) == {b"@payments/%d %02d" % (place % 2, place) for place in range(at - 1)}
    assert not any(swap.floors for swap in swaps if swap is not clearing)
    copy = Cell("k", dict(cell.fields))
    for place in range(12):
        mark = Mark(f"payments/{place % 2}", f"{place:02d}")
        assert cell.seen(mark) == copy.seen(mark) == b"1"


def test_what_is_idle_is_forgotten() -> None:
    counted = Counted()
    counted.add(Mark("old/0", "1", floor="1"), now=0)
    counted.add(Mark(id="1"), now=0)
    counted.add(Mark(id="2"), now=IDLE - 50)
    for number in range(2 * SLACK):
        counted.add(Mark("new/0", f"{number:02d}", floor=f"{number:02d}"), now=IDLE)
    assert b"#1 " not in counted.cell.fields, "older than its horizon"
    assert b"#2 " in counted.cell.fields
    assert b"<old/0" in counted.cell.fields
    for number in range(2 * SLACK, 6 * SLACK):
        counted.add(Mark("new/0", f"{number:02d}", floor=f"{number:02d}"), now=IDLE + 1)
    assert not any(b"old/0" in name for name in counted.cell.fields)


ORIGINS, PLACES, KEYS, WRITERS = 2, 12, 2, 3

steps = st.one_of(
    st.tuples(
        st.just("deliver"),
        st.integers(0, ORIGINS - 1),
        st.integers(0, PLACES - 1),
        st.integers(0, PLACES),
        st.integers(0, WRITERS - 1),
    ),
    st.tuples(st.just("commit"), st.integers(0, ORIGINS - 1), st.just(0), st.just(0), st.just(0)),
    st.tuples(st.just("crash"), st.just(0), st.just(0), st.just(0), st.integers(0, WRITERS - 1)),
)


class World:
    """Two partitions whose events change two states in any order; writers that crash, repeat and lag behind."""

    def __init__(self) -> None:
        self.kept: list[dict[bytes, bytes]] = [{} for _ in range(KEYS)]
        self.cells: list[dict[int, Cell]] = [{} for _ in range(WRITERS)]
        self.committed = [0] * ORIGINS
        self.got: dict[tuple[int, int], bytes] = {}
        self.number = 0

    def deliver(self, origin: int, place: int, behind: int, writer: int) -> None:
        """One writer has this event, and knows the floor as it was some commits ago."""
        floor = max(self.committed[origin] - behind, 0)
        mark = Mark(f"o/{origin}", f"{place:019d}", floor=f"{floor:019d}")
        got, new = self.count(place % KEYS, mark, self.cells[writer])
        assert new == ((origin, place) not in self.got)
        first = self.got.setdefault((origin, place), got)
        if got != first:
            assert place < self.committed[origin], "only what is confirmed is forgotten"

    def count(self, key: int, mark: Mark, cells: dict[int, Cell]) -> tuple[bytes, bool]:
        while True:
            cell = cells.setdefault(key, Cell(f"k{key}", dict(self.kept[key])))
            got = cell.seen(mark)
            if got is not None:
                return got, False
            self.number += 1
            value = b"%d" % (int(cell.value or b"0") + 1)
            if self.swap(key, cell.put(mark, value, b"v%d" % self.number, now=NOW, horizon=60)):
                return value, True
            del cells[key]

    def swap(self, key: int, swap: Swap) -> bool:
        kept = self.kept[key]
        if kept.get(VERSION, b"") != swap.expected:
            return False
        kept.update(zip(swap.fields[::2], swap.fields[1::2], strict=True))
        for name in swap.gone:
            kept.pop(name, None)
        return True

    def commit(self, origin: int) -> None:
        """The contiguous finished prefix."""
        while (origin, self.committed[origin]) in self.got:
            self.committed[origin] += 1


@given(st.lists(steps, max_size=150))
def test_each_event_counts_once_and_no_floor_passes_one_that_does_not(
    given_steps: list[tuple[str, int, int, int, int]],
) -> None:
    world = World()
    for kind, origin, place, behind, writer in given_steps:
        if kind == "deliver":
            world.deliver(origin, place, behind, writer)
        elif kind == "commit":
            world.commit(origin)
        else:
            world.cells[writer] = {}
    for key, kept in enumerate(world.kept):
        counted = sum(place % KEYS == key for _, place in world.got)
        assert int(kept.get(VALUE, b"0")) == counted
        for name, value in kept.items():
            if name[:1] == b"<":
                assert int(value.partition(b" ")[0] or b"0") <= world.committed[int(name[-1:])]
