"""What every store keeps to. Inherit the class, and give it a fixture `store` that is open."""

from __future__ import annotations

import asyncio

import pytest

from penstock.connectors import Store
from penstock.connectors.store.reply import ReplyError
from tests.connectors.store.guard_contract import GuardContract


class StoreContract(GuardContract):
    """What holds for every store. Keys begin with the test's own name, for the store may be shared."""

    async def test_plain_keys(self, store: Store) -> None:
        await store.delete(["plain:1", "plain:2"])
        await store.write("plain:1", b"\x00one")
        await store.write("plain:2", b"")
        assert await store.read(["plain:2", "plain:3", "plain:1"]) == [b"", None, b"\x00one"]
        assert await store.read([]) == []
        await store.write("plain:1", b"other")
        assert await store.read(["plain:1"]) == [b"other"]

    async def test_many_plain_keys(self, store: Store) -> None:
        await store.write_many([])
        await store.write_many([(f"plain:many:{number}", b"%d" % number, 60.0) for number in range(50)])
        await store.write_many([("plain:many:0", b"other", 60.0)])
        found = await store.read([f"plain:many:{number}" for number in range(50)])
        assert found == [b"other", *[b"%d" % number for number in range(1, 50)]]

    async def test_hashes(self, store: Store) -> None:
        await store.delete(["hash:1", "hash:2"])
        await store.write_hash("hash:1", {"text": "é", "bytes": b"\xff", "count": 7, "mean": 0.1})
        await store.write_hash("hash:1", {"count": 8})
        await store.write_hash("hash:1", {})
        fields = ["count", "mean", "text", "none", "bytes"]
        there = [b"8", b"0.1", "é".encode(), None, b"\xff"]
        assert await store.read_hashes(["hash:1", "hash:2", "hash:1"], fields) == [there, [None] * 5, there]
        assert await store.read_hashes([], fields) == []
        whole = {b"count": b"8", b"mean": b"0.1", b"text": "é".encode(), b"bytes": b"\xff"}
        assert await store.read_maps(["hash:2", "hash:1"]) == [{}, whole]
        assert await store.read_maps([]) == []

    async def test_who_comes_first_settles_a_key(self, store: Store) -> None:
        await store.delete(["settled:1", "settled:2", "settled:3", "settled:hash"])
        found = await asyncio.gather(*[store.settle("settled:1", b"%d" % number, 60.0) for number in range(5)])
        assert found == [None, b"0", b"0", b"0", b"0"]
        assert await store.settle("settled:2", b"", 60.0) is None
        assert await store.settle("settled:2", b"other", 60.0) == b""
        assert await store.read(["settled:1", "settled:2"]) == [b"0", b""]
        await store.delete(["settled:1"])
        assert await store.settle("settled:1", b"again", 60.0) is None
        many = [("settled:2", b"third", 60.0), ("settled:3", b"new", 60.0), ("settled:3", b"newer", 60.0)]
        assert await store.settle_many(many) == [b"", None, b"new"]
        assert await store.settle_many([]) == []
        await store.write_hash("settled:hash", {"a": 1})
        with pytest.raises(ReplyError, match="WRONGTYPE"):
            await store.settle("settled:hash", b"1", 60.0)

    async def test_a_write_to_a_server_that_is_still_the_same(self, store: Store) -> None:
        await store.delete(["on"])
        server = await store.write_on("", "on", {"a": "1"})
        assert server
        assert await store.read_maps(["on"]) == [{}]
        assert await store.write_on(server, "on", {"a": "1", "b": b"2"}) == server
        assert await store.write_on(server, "on", {}) == server
        assert await store.write_on("another", "on", {"a": "3"}) == server
        assert await store.read_maps(["on"]) == [{b"a": b"1", b"b": b"2"}]

    async def test_numbers_are_kept_exactly(self, store: Store) -> None:
        await store.delete(["exact"])
        numbers = [0.1 + 0.2, 1e300, -0.0, 5e-324, 2**80, -1]
        await store.write_hash("exact", {str(at): number for at, number in enumerate(numbers)})
        [row] = await store.read_hashes(["exact"], [str(at) for at in range(len(numbers))])
        assert row is not None
        assert [type(number)(value or b"") for number, value in zip(numbers, row, strict=True)] == numbers

    async def test_a_key_that_holds_something_else(self, store: Store) -> None:
        await store.delete(["kind:plain", "kind:hash", "kind:log"])
        await store.write("kind:plain", b"1")
        await store.write_hash("kind:hash", {"a": 1})
        await store.append("kind:log", {"a": b"1"})
        assert await store.read(["kind:hash", "kind:plain", "kind:log"]) == [None, b"1", None]
        assert await store.read_hashes(["kind:plain", "kind:hash", "kind:log"], ["a"]) == [None, [b"1"], None]
        assert await store.read_maps(["kind:plain", "kind:hash", "kind:log"]) == [None, {b"a": b"1"}, None]
        for key in ("kind:plain", "kind:log"):
            with pytest.raises(ReplyError, match="WRONGTYPE"):
                await store.write_hash(key, {"a": 1})
        for key in ("kind:plain", "kind:hash"):
            for broken in (store.append(key, {"a": b"1"}), store.append(key, {"a": b"1"}, id="1"), store.length(key)):
                with pytest.raises(ReplyError, match="WRONGTYPE"):
                    await broken
            with pytest.raises(ReplyError, match="WRONGTYPE"):
                await store.entries(key)

    async def test_deleting_counts_what_there_was(self, store: Store) -> None:
        await store.write("gone:1", b"1")
        await store.write_hash("gone:2", {"a": 1})
        assert await store.delete(["gone:1", "gone:2", "gone:3"]) == 2
        assert await store.delete(["gone:1"]) == 0
        assert await store.delete([]) == 0
        assert await store.read(["gone:1"]) == [None]

    async def test_many_callers_at_once(self, store: Store) -> None:
        await asyncio.gather(*[store.write(f"many:{number}", b"%d" % number) for number in range(200)])
        found = await asyncio.gather(*[store.read([f"many:{number}"]) for number in range(200)])
        assert found == [[b"%d" % number] for number in range(200)]
        assert await store.delete([f"many:{number}" for number in range(200)]) == 200

    async def test_a_log_keeps_its_order(self, store: Store) -> None:
        await store.delete(["log"])
        assert await store.length("log") == 0
        assert await store.entries("log") == []
        places = [await store.append("log", {"n": b"%d" % number, "raw": b"\xff"}) for number in range(25)]
        assert len(set(places)) == 25
        assert await store.length("log") == 25
        seen: list[tuple[str, dict[str, bytes]]] = []
        while entries := await store.entries("log", after=seen[-1][0] if seen else "", count=10):
            assert len(entries) <= 10
            seen += entries
        assert seen == [(place, {"n": b"%d" % number, "raw": b"\xff"}) for number, place in enumerate(places)]
        assert await store.entries("log", after=places[20], count=2) == seen[21:23]

    async def test_an_id_is_appended_once(self, store: Store) -> None:
        await store.delete(["ids"])
        first = await store.append("ids", {"n": b"1"}, id="letter-1")
        second = await store.append("ids", {"n": b"2"}, id="letter-2")
        assert first != second
        assert await store.append("ids", {"n": b"other"}, id="letter-1") == first
        again = await asyncio.gather(*[store.append("ids", {"n": b"3"}, id="letter-3") for _ in range(5)])
        assert len(set(again)) == 1
        assert await store.entries("ids") == [(first, {"n": b"1"}), (second, {"n": b"2"}), (again[0], {"n": b"3"})]
        assert await store.delete(["ids"]) == 1
        await store.append("ids", {"n": b"1"}, id="letter-1")
        assert await store.length("ids") == 1, "with the log its ids are gone"

    async def test_an_entry_is_replaced_in_its_place(self, store: Store) -> None:
        await store.delete(["amend"])
        for number in range(3):
            await store.append("amend", {"n": b"%d" % number}, id=f"letter-{number}")
        before = await store.entries("amend")
        assert await store.amend("amend", "letter-1", {"n": b"new", "raw": b"\xff\x00"})
        assert await store.amend("amend", "letter-1", {"n": b"new", "raw": b"\xff\x00"})
        assert not await store.amend("amend", "letter-9", {"n": b"new"})
        assert await store.entries("amend") == [before[0], (before[1][0], {"n": b"new", "raw": b"\xff\x00"}), before[2]]
        assert await store.entries("amend", after=before[0][0], count=1) == [
            (before[1][0], {"n": b"new", "raw": b"\xff\x00"})
        ]
        assert await store.delete(["amend"]) == 1
        await store.append("amend", {"n": b"1"}, id="letter-1")
        assert [entry for _, entry in await store.entries("amend")] == [{"n": b"1"}]

    async def test_entries_are_taken_out_by_their_ids(self, store: Store) -> None:
        await store.delete(["remove"])
        for number in range(4):
            await store.append("remove", {"n": b"%d" % number}, id=f"letter-{number}")
        await store.amend("remove", "letter-3", {"n": b"three"})
        assert await store.size("remove") > 0
        assert await store.remove("remove", ["letter-3", "letter-1", "letter-9"]) == 2
        assert await store.remove("remove", ["letter-3"]) == 0
        assert await store.remove("remove", []) == 0
        assert await store.length("remove") == 2
        place = await store.append("remove", {"n": b"again"}, id="letter-3")
        found = await store.entries("remove")
        assert [entry["n"] for _, entry in found] == [b"0", b"2", b"again"]
        assert found[-1][0] == place
        assert await store.remove("remove", [f"letter-{number}" for number in range(4)]) == 3
        assert (await store.length("remove"), await store.entries("remove")) == (0, [])
        assert await store.append("remove", {"n": b"last"}, id="letter-0") != place

    async def test_it_says_that_it_is_well(self, store: Store) -> None:
        assert store.problem is None
        before = store.clock()
        assert store.clock() >= before

    async def test_closing_twice(self, store: Store) -> None:
        await store.close()
        await store.close()
        await store.open()
        assert await store.read(["never"]) == [None]
