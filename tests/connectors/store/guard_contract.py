"""What every store keeps to where state is updated: a hash changes if its version is the expected one, or not at all.

Inherit the class, and give it a fixture `store` that is open.
"""

from __future__ import annotations

import asyncio
import random
from uuid import uuid4

from penstock.connectors import Store
from penstock.connectors.mark import Mark
from penstock.connectors.store.guard import VALUE, VERSION, Cell, Floor, Swap

SIZE = 250
"""Fields of a large hash: more than a script takes in one call of the server's commands."""


def at(place: int, *, origin: str = "payments/0", path: str = "", floor: int | None = None) -> Mark:
    return Mark(origin, f"{place:019d}", path=path, floor="" if floor is None else f"{floor:019d}")


def swap(key: str, expected: bytes, fields: dict[bytes, bytes], *gone: bytes, floor: Floor | None = None) -> Swap:
    flat = [part for field in fields.items() for part in field]
    return Swap(key, expected, flat, gone, [] if floor is None else [floor])


async def swapped(store: Store, key: str, expected: bytes, fields: dict[bytes, bytes], *gone: bytes) -> bool:
    [done] = await store.swap([swap(key, expected, fields, *gone)])
    return done


async def kept(store: Store, key: str) -> dict[bytes, bytes] | None:
    [found] = await store.read_maps([key])
    return found


class Counter:
    """Adds one for each event that was not here before, as a stage would, and reads the hash when it must."""

    def __init__(self, store: Store, key: str) -> None:
        self.store = store
        self.key = key
        self.cell: Cell | None = None

    async def add(self, mark: Mark) -> bytes:
        while True:
            if self.cell is None:
                self.cell = Cell(self.key, await kept(self.store, self.key) or {})
            got = self.cell.seen(mark)
            if got is not None:
                return got
            value = b"%d" % (int(self.cell.value or b"0") + 1)
            version = uuid4().hex.encode()
            swap = self.cell.put(mark, value, version, now=self.store.second(), horizon=60)
            [done] = await self.store.swap([swap])
            if done:
                return value
            self.cell = None


class GuardContract:
    """What holds for every store."""

    async def test_a_first_swap_a_second_and_one_that_comes_too_late(self, store: Store) -> None:
        await store.delete(["guard:1"])
        assert not await swapped(store, "guard:1", b"v0", {VALUE: b"x", VERSION: b"v1"})
        assert await kept(store, "guard:1") == {}
        assert await swapped(store, "guard:1", b"", {VALUE: b"one", VERSION: b"v1", b"@a 1": b"one"})
        assert not await swapped(store, "guard:1", b"", {VALUE: b"two", VERSION: b"v2"})
        assert await swapped(store, "guard:1", b"v1", {VALUE: b"\x00two", VERSION: b"v2"}, b"@a 1", b"never there")
        assert await kept(store, "guard:1") == {VALUE: b"\x00two", VERSION: b"v2"}

    async def test_a_swap_without_fields_only_asks(self, store: Store) -> None:
        await store.delete(["guard:2"])
        assert await swapped(store, "guard:2", b"", {})
        assert await swapped(store, "guard:2", b"", {VERSION: b"v1"})
        assert not await swapped(store, "guard:2", b"", {})
        assert await swapped(store, "guard:2", b"v1", {})
        assert await kept(store, "guard:2") == {VERSION: b"v1"}

    async def test_many_in_one_request_are_done_in_order(self, store: Store) -> None:
        await store.delete(["guard:3", "guard:4", "guard:foreign"])
        await store.write("guard:foreign", b"1")
        swaps = [
            swap("guard:3", b"", {VERSION: b"v1"}),
            swap("guard:4", b"", {VERSION: b"v1"}),
            swap("guard:3", b"v1", {VERSION: b"v2"}),
            swap("guard:foreign", b"", {VERSION: b"v1"}),
            swap("guard:3", b"v1", {VERSION: b"v3"}),
            swap("guard:3", b"v2", {VERSION: b"v4"}),
        ]
        assert await store.swap(swaps) == [True, True, True, False, False, True]
        assert await store.swap(swaps) == [False] * 6
        assert await store.swap([]) == []
        assert await store.read(["guard:foreign"]) == [b"1"]

    async def test_large_hashes_go_in_and_out_at_once(self, store: Store) -> None:
        await store.delete(["guard:5"])
        fields = {b"@a %019d" % number: b"x" for number in range(SIZE)}
        assert await swapped(store, "guard:5", b"", {VERSION: b"v1", **fields})
        assert len(await kept(store, "guard:5") or {}) == SIZE + 1
        assert await swapped(store, "guard:5", b"v1", {VERSION: b"v2"}, *fields)
        assert await kept(store, "guard:5") == {VERSION: b"v2"}

    async def test_a_floor_does_not_pass_the_watermark(self, store: Store) -> None:
        await store.delete(["guard:7", "guard:marks"])

        def floor(place: int) -> Floor:
            return Floor("guard:marks", "payments/0", f"{place:019d}")

        assert await store.swap([swap("guard:7", b"", {VERSION: b"v1"}, floor=floor(4))]) == [False]
        assert await kept(store, "guard:7") == {}, "there is no watermark"
        await store.write_hash("guard:marks", {"payments/0": f"{4:019d} and more", "other/0": f"{9:019d}"})
        swaps = [
            swap("guard:7", b"", {VERSION: b"v1"}, floor=floor(4)),
            swap("guard:7", b"v1", {VERSION: b"v2"}, floor=floor(5)),
            swap("guard:7", b"v1", {VERSION: b"v3"}),
        ]
        assert await store.swap(swaps) == [True, False, True]
        assert await kept(store, "guard:7") == {VERSION: b"v3"}

    async def test_several_floors_and_what_goes_with_them(self, store: Store) -> None:
        keys = ["guard:9", "guard:10", "guard:11"]
        await store.delete([*keys, "guard:marks"])
        await store.write_hash("guard:marks", {"a b/0": f"{4:019d}", "b/1": f"{7:019d} and more"})
        floors = [Floor("guard:marks", "a b/0", f"{4:019d}"), Floor("guard:marks", "b/1", f"{7:019d}")]
        high = floors[1]._replace(place=f"{8:019d}")
        await store.swap([Swap(key, b"", (VERSION, b"v1", b"@a b/0 1", b"x", b"@b/1 2", b"y")) for key in keys])
        gone = [b"@a b/0 1", b"@b/1 2"]
        swaps = [
            Swap("guard:9", b"v1", (VERSION, b"v2", b"<a b/0", b"4"), gone, floors),
            Swap("guard:10", b"v1", (VERSION, b"v2"), gone, [floors[0], high]),
            Swap("guard:11", b"v1", (VERSION, b"v2"), gone[:1]),
            Swap("guard:9", b"v2", (VERSION, b"v3")),
        ]
        assert await store.swap(swaps) == [True, False, True, True]
        assert await store.read_maps(keys) == [
            {VERSION: b"v3", b"<a b/0": b"4"},
            {VERSION: b"v1", b"@a b/0 1": b"x", b"@b/1 2": b"y"},
            {VERSION: b"v2", b"@b/1 2": b"y"},
        ]

    async def test_more_than_one_script_changes(self, store: Store) -> None:
        keys = [f"guard:many:{number}" for number in range(2 * SIZE + 1)]
        await store.delete(keys)
        late = {0, 1, SIZE - 1, SIZE, 2 * SIZE}
        swaps = [Swap(key, b"v9" if at in late else b"", (VERSION, b"v1")) for at, key in enumerate(keys)]
        assert await store.swap(swaps) == [at not in late for at in range(len(keys))]

    async def test_several_writers_at_once(self, store: Store) -> None:
        """Four writers race through the same events: every event counts once, and all hear the same of it."""
        await store.delete(["guard:6"])

        async def write(counter: Counter, places: list[int]) -> dict[int, bytes]:
            return {place: await counter.add(at(place)) for place in places}

        places = list(range(25))
        orders = [places, places[::-1], places[12:] + places[:12], places[::2] + places[1::2]]
        found = await asyncio.gather(*[write(Counter(store, "guard:6"), order) for order in orders])
        assert found[0] == found[1] == found[2] == found[3]
        assert sorted(map(int, found[0].values())) == list(range(1, 26))

    async def test_a_copy_stays_what_the_store_has(self, store: Store) -> None:
        """One writer through 600 updates in any order, with floors that rise: its copy and the hash are the same."""
        await store.delete(["guard:7"])
        chance = random.Random(20_241_121)
        counter = Counter(store, "guard:7")
        for number in range(600):
            place, path = number // 3 + chance.randrange(20), chance.choice(["", ".0", ".1.10"])
            mark = at(place, origin=chance.choice(["a/0", "b c/0"]), path=path, floor=number // 3)
            await counter.add(mark if chance.random() < 0.8 else Mark(id=f"id {place}", path=path))
            if number % 50 == 49:
                assert counter.cell is not None
                assert await kept(store, "guard:7") == counter.cell.fields

    async def test_the_second_is_of_a_calendar(self, store: Store) -> None:
        first = store.second()
        assert first <= store.second() <= first + 60
