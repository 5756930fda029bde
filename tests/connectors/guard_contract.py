"""What every store keeps to where it updates state: each event's update is made once, however it is asked for.

Inherit the class, and give it a fixture `store` that is open.
"""

from __future__ import annotations

import asyncio
import random
import time
from uuid import uuid4

from penstock.connectors import Store
from penstock.connectors.guard import FOLD, SLACK, SMALL, UNKNOWN, Kept, Update, Updated, guard
from penstock.connectors.mark import Mark


def fold(key: str, mark: Mark, expected: str, version: str, value: bytes, horizon: int = 60) -> Update:
    return Update(key, mark, FOLD, (expected, version, value), horizon)


def at(place: int, *, origin: str = "payments/0", path: str = "", floor: int | None = None) -> Mark:
    return Mark(origin, f"{place:019d}", path=path, floor="" if floor is None else f"{floor:019d}")


async def one(store: Store, update: Update) -> Updated:
    [updated] = await store.update([update])
    return updated


class Counter:
    """Adds one for each event that was not here before, as a stage would."""

    def __init__(self, store: Store, key: str) -> None:
        self.store = store
        self.key = key

    async def add(self, mark: Mark) -> Updated:
        """Until it is done: a conflict says what there is, which is tried upon."""
        expected, count = UNKNOWN, 0
        while True:
            updated = await one(self.store, fold(self.key, mark, expected, uuid4().hex, b"%d" % (count + 1)))
            if updated.verdict != "conflict":
                return updated
            expected, count = updated.version.decode(), int(updated.result or b"0")


class GuardContract:
    """What holds for every store."""

    async def test_a_first_update_a_second_and_the_version(self, store: Store) -> None:
        await store.delete(["guard:1"])
        assert await one(store, fold("guard:1", at(1), UNKNOWN, "x", b"x")) == Updated("conflict", None)
        assert await one(store, fold("guard:1", at(1), "", "v1", b"one")) == Updated("applied", b"one")
        assert await one(store, fold("guard:1", at(2), "", "v2", b"two")) == Updated("conflict", b"one", b"v1")
        assert await one(store, fold("guard:1", at(2), "v1", "v2", b"\x00two")) == Updated("applied", b"\x00two")
        assert await one(store, fold("guard:1", at(3), UNKNOWN, "x", b"x")) == Updated("conflict", b"\x00two", b"v2")

    async def test_a_repeat_gets_what_it_got(self, store: Store) -> None:
        await store.delete(["guard:2"])
        await one(store, fold("guard:2", at(1), "", "v1", b"one"))
        await one(store, fold("guard:2", at(2), "v1", "v2", b"two"))
        assert await one(store, fold("guard:2", at(1), "v2", "v3", b"again")) == Updated("repeat", b"one")
        assert await one(store, fold("guard:2", at(1), UNKNOWN, "v3", b"again")) == Updated("repeat", b"one")
        assert await one(store, fold("guard:2", at(3), UNKNOWN, "x", b"")) == Updated("conflict", b"two", b"v2")

    async def test_the_parts_of_one_event_are_apart(self, store: Store) -> None:
        await store.delete(["guard:3"])
        counter = Counter(store, "guard:3")
        marks = [at(1), at(1, path=".0"), at(1, path=".1"), at(1, path=".0.1"), at(1, origin="payments/1"), at(11)]
        for _ in range(2):
            results = [(await counter.add(mark)).result for mark in marks]
            assert results == [b"%d" % number for number in range(1, 7)]

    async def test_positions_may_come_in_any_order(self, store: Store) -> None:
        await store.delete(["guard:4"])
        counter = Counter(store, "guard:4")
        for place in (5, 3, 9, 3, 5, 4):
            await counter.add(at(place, floor=2))
        assert (await counter.add(at(10))).result == b"5"

    async def test_below_the_floor_it_was_here(self, store: Store) -> None:
        await store.delete(["guard:5"])
        counter = Counter(store, "guard:5")
        for place in range(4):
            await counter.add(at(place))
        await counter.add(at(4, floor=3))
        assert await counter.add(at(1)) == Updated("late", b"5")
        assert await counter.add(at(2, floor=3)) == Updated("late", b"5")
        assert await counter.add(at(3)) == Updated("repeat", b"4"), "the floor itself is not below it"
        assert (await counter.add(at(1, origin="payments/1"))).verdict == "applied", "each origin has its own"
        await counter.add(at(5, floor=1))
        assert (await counter.add(at(2))).verdict == "late", "a floor never sinks"

    async def test_what_lies_below_the_floor_is_cleared_up(self, store: Store) -> None:
        await store.delete(["guard:6"])
        counter = Counter(store, "guard:6")
        for place in range(300):
            await counter.add(at(place, floor=place - place % 10))
            await counter.add(at(place, origin="other one/7", floor=place - place % 10))
        [kept] = await store.read_maps(["guard:6"])
        assert kept is not None
        assert len(kept) <= SMALL
        assert kept[b"="] == b"600"

    async def test_a_large_window_is_cleared_up_now_and_then(self, store: Store) -> None:
        await store.delete(["guard:7"])
        size, most = 200, 0
        expected = ""
        for place in range(3 * size):
            mark = at(place, floor=max(place - size, 0))
            assert (await one(store, fold("guard:7", mark, expected, f"v{place}", b"1"))).verdict == "applied"
            expected = f"v{place}"
            if place % 50 == 0:
                [kept] = await store.read_maps(["guard:7"])
                most = max(most, len(kept or {}))
        assert most <= 2 * (size + 4) + SLACK

    async def test_a_floor_does_not_pass_the_watermark(self, store: Store) -> None:
        await store.delete(["guard:13", "guard:marks"])

        def bound(place: int, floor: int) -> Mark:
            mark = at(place, floor=floor)
            mark.watermarks = "guard:marks"
            return mark

        counter = Counter(store, "guard:13")
        await counter.add(bound(9, 9))
        assert (await counter.add(bound(1, 9))).verdict == "applied", "there is no watermark"
        await store.write_hash("guard:marks", {"payments/0": f"{4:019d} and more", "other/0": f"{9:019d}"})
        await counter.add(bound(10, 9))
        assert (await counter.add(bound(3, 9))).verdict == "late"
        assert (await counter.add(bound(4, 9))).verdict == "applied"
        await store.write_hash("guard:marks", {"payments/0": f"{2:019d}"})
        await counter.add(bound(11, 9))
        assert (await counter.add(bound(2, 9))).verdict == "late", "a floor never sinks"

    async def test_an_event_without_a_position_is_known_by_its_id(self, store: Store) -> None:
        await store.delete(["guard:8"])
        counter = Counter(store, "guard:8")
        marks = [Mark(id="terminals#1"), Mark(id="terminals#2"), Mark(id="terminals#1", path=".1")]
        for _ in range(2):
            assert [(await counter.add(mark)).result for mark in marks] == [b"1", b"2", b"3"]

    async def test_many_in_one_request_are_done_in_order(self, store: Store) -> None:
        await store.delete(["guard:9", "guard:10", "guard:foreign"])
        await store.write("guard:foreign", b"1")
        updates = [
            fold("guard:9", at(1), "", "v1", b"a"),
            fold("guard:10", at(1), "", "v1", b"b"),
            fold("guard:9", at(2), "v1", "v2", b"c"),
            fold("guard:foreign", at(2), "", "v1", b"d"),
            fold("guard:9", at(3), "v1", "v3", b"e"),
            fold("guard:9", at(4), "v2", "v4", b"f"),
        ]
        verdicts = [updated.verdict for updated in await store.update(updates)]
        assert verdicts == ["applied", "applied", "applied", "foreign", "conflict", "applied"]
        verdicts = [updated.verdict for updated in await store.update(updates)]
        assert verdicts == ["repeat", "repeat", "repeat", "foreign", "conflict", "repeat"]
        assert await store.update([]) == []
        assert await store.read(["guard:foreign"]) == [b"1"]

    async def test_several_writers_at_once(self, store: Store) -> None:
        """Four writers race through the same events: every event counts once, and all hear the same of it."""
        await store.delete(["guard:11"])

        async def write(counter: Counter, places: list[int]) -> dict[int, bytes | None]:
            return {place: (await counter.add(at(place))).result for place in places}

        places = list(range(25))
        orders = [places, places[::-1], places[12:] + places[:12], places[::2] + places[1::2]]
        found = await asyncio.gather(*[write(Counter(store, "guard:11"), order) for order in orders])
        assert found[0] == found[1] == found[2] == found[3]
        assert sorted(int(result or b"") for result in found[0].values()) == list(range(1, 26))

    async def test_it_answers_as_its_twin_does(self, store: Store) -> None:
        """The script and its twin, through the same 1,500 updates in any order: equal answers, equal hashes."""
        await store.delete(["guard:12"])
        chance = random.Random(20_241_121)
        updates: list[Update] = []
        for number in range(1500):
            origin, place = chance.choice(["a/0", "a/1", "b c/0"]), number // 3 + chance.randrange(40)
            path, floor = chance.choice(["", "", ".0", ".1.10"]), chance.choice([None, number // 3, number // 6])
            mark = at(place, origin=origin, path=path, floor=floor)
            if chance.random() < 0.2:
                mark = Mark(id=f"id {place}", path=path)
            version = f"v{number}"
            expected = chance.choice([UNKNOWN, *[f"v{number - back}" for back in range(1, 4)], ""])
            updates.append(fold("guard:12", mark, expected, version, b"%d" % number))
        twin: Kept = {}
        now = int(time.time())
        assert await store.update(updates) == [guard(twin, update, now) for update in updates]
        [kept] = await store.read_maps(["guard:12"])
        assert kept is not None
        assert _timeless(kept) == _timeless(twin)


def _timeless(kept: Kept) -> Kept:
    """A hash without the seconds in it."""
    floors = {name: value.partition(b" ")[0] for name, value in kept.items() if name[:1] == b"<"}
    ids = {name: value[10:] for name, value in kept.items() if name[:1] == b"#"}
    return {**kept, **floors, **ids}
