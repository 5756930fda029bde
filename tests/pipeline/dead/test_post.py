"""Many letters, few of them in memory: reading, dropping and putting them back some at a time."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import msgspec
import pytest

from penstock.connectors.store.memory import MemoryStore
from penstock.errors import ConfigError, PenstockError
from penstock.pipeline.dead import post
from penstock.pipeline.dead.post import Filter
from penstock.pipeline.dead.reading import MOST, Reading
from penstock.pipeline.files import whole
from penstock.pipeline.letters.letters import Letter, Letters, line
from penstock.pipeline.letters.register import enter
from tests.pipeline.cli.test_dead import letter


async def filled(*pipelines: str, count: int, data: str = "{}") -> MemoryStore:
    """A store with so many letters of each of these pipelines."""
    store = MemoryStore()
    for name in pipelines:
        await enter(store, name)
        for number in range(count):
            await Letters(store, name).write(letter(number, data=data))
    return store


async def ids(store: MemoryStore, name: str) -> list[str]:
    return [one.event for some in [page async for page in Reading(Letters(store, name))] for one in some]


async def test_those_that_are_there_in_order_and_none_that_come_meanwhile() -> None:
    store = await filled("fraud", count=1200)
    found: list[Letter] = []
    sizes = []
    async for some in Reading(Letters(store, "fraud")):
        await Letters(store, "fraud").write(letter(5000 + len(found)))
        await Letters(store, "fraud").remove([one.id for one in some])
        found += some
        sizes.append(len(some))
    assert [one.event for one in found] == [f"e{number}" for number in range(1200)]
    assert max(sizes) <= MOST
    assert len(await ids(store, "fraud")) == len(sizes)


async def test_large_letters_come_a_few_at_a_time() -> None:
    store = await filled("fraud", count=10, data="x" * 1_000_000)
    assert [len(some) async for some in Reading(Letters(store, "fraud"))][:2] == [3, 3]
    huge = await filled("fraud", count=2, data="x" * 5_000_000)
    assert [len(some) async for some in Reading(Letters(huge, "fraud"))] == [1, 1]


async def test_memory_does_not_grow_with_the_letters() -> None:
    store = await filled("fraud", "orders", count=3000, data="x" * 5000)
    count = 0
    tracemalloc.start()
    async for page in await post.pages(store, "", Filter(stage="decide")):
        count += len(page.letters)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 6000
    assert most < 10_000_000, "30 MB were read"


async def test_what_came_after_the_question_is_not_dropped() -> None:
    store = await filled("fraud", "orders", count=700)
    asked = {page.pipeline: page.place async for page in await post.pages(store, "", Filter(key="card-1"))}
    await Letters(store, "fraud").write(letter(701))
    await enter(store, "third")
    await Letters(store, "third").write(letter(1))
    assert await post.drop(store, "", Filter(key="card-1"), asked) == 700
    assert (await ids(store, "fraud"))[-2:] == ["e698", "e701"]
    assert await ids(store, "third") == ["e1"]
    assert await post.drop(store, "", Filter()) == 352 + 350
    assert await ids(store, "orders") == []


async def test_a_letter_by_its_id() -> None:
    store = await filled("fraud", "orders", count=3)
    twins = [msgspec.structs.replace(letter(7), id=f"e7/decide~{number}") for number in range(2)]
    for one in twins:
        await Letters(store, "fraud").write(one)
    assert (await post.one(store, "fraud", "e1/decide")).event == "e1"
    assert (await post.one(store, "", "e7/decide~1")).id == "e7/decide~1"
    with pytest.raises(PenstockError, match="'e1/decide' may be e1/decide of fraud or e1/decide of orders: name one"):
        await post.one(store, "", "e1/decide")
    with pytest.raises(PenstockError, match="may be e7/decide~0 of fraud or e7/decide~1 of fraud"):
        await post.one(store, "", "e7/decide")
    with pytest.raises(PenstockError, match="no dead letter 'e9/decide'"):
        await post.drop(store, "fraud", Filter(("e2/decide", "e9/decide")))


async def test_many_lines_out_and_back() -> None:
    lines = [line(name, letter(number)) for number in range(350) for name in ("fraud", "orders")]
    store = await filled("fraud", count=10)
    assert await post.put(store, [*lines, b"\n"]) == (690, 10)
    assert await post.put(store, lines) == (0, 700)
    assert await ids(store, "orders") == [f"e{number}" for number in range(350)]


async def test_a_line_that_is_no_letter_is_told_of_by_its_number() -> None:
    lines = [*[line("fraud", letter(number)) for number in range(150)], b"nothing\n"]
    store = MemoryStore()
    with pytest.raises(ConfigError, match="line 151 is no dead letter"):
        await post.put(store, lines)
    assert await ids(store, "fraud") == [f"e{number}" for number in range(100)]
    with pytest.raises(ConfigError, match="line 151 is no dead letter"):
        post.checked(lines)


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "letters.ndjson"
    file.write_bytes(b"before")
    with pytest.raises(TypeError), whole(file) as out:
        out.writelines([b"half", None])  # type: ignore[list-item]
    assert ([one.name for one in tmp_path.iterdir()], file.read_bytes()) == (["letters.ndjson"], b"before")
    with whole(file) as out:
        out.write(b"all")
    assert file.read_bytes() == b"all"
    with pytest.raises(ConfigError, match="cannot be written"), whole(tmp_path / "nowhere" / "file"):
        pass
