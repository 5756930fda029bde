"""Where dead letters reach their limit: reading pauses, or the oldest move to files."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from penstock import Pipeline, Reject
from penstock.connectors import Settings, Site
from penstock.connectors.memory_store import MemoryStore
from penstock.connectors.topics import Topics
from penstock.errors import ConfigError
from penstock.pipeline import limits, post
from penstock.pipeline.engine import Engine
from penstock.pipeline.letters import Letters
from penstock.pipeline.metrics import Metrics
from tests.pipeline.doubles import Bench, Memory
from tests.pipeline.process import Running, get, http_app, run
from tests.pipeline.process import post as ask
from tests.servers import Redis


async def refuse(number: int) -> int:
    raise Reject("never")


def limited(store: MemoryStore, **settings: str) -> Bench:
    """A pipeline that makes a letter of everything, one event after the other, under these limits."""
    made = Pipeline("numbers", concurrency=1)
    made.source(Memory("in"), schema=int).transform(refuse).act(lambda number: number, to=Memory("out"), stage="out")
    variables = {f"PENSTOCK_DEAD_{name.upper()}": value for name, value in settings.items()}
    site = Site(Settings(variables), pipeline="numbers")
    return Bench(Engine(made.build(), site, store), Topics.of(site), site)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOOK", 0.01)


def metric(metrics: Metrics, name: str) -> float:
    [found] = [family for family in metrics.collect() if family.name == f"penstock_{name}"]
    return found.samples[0].value


class Watched(MemoryStore):
    """Counts how often somebody looked at how many letters there are."""

    looks = 0

    async def length(self, stream: str) -> int:
        self.looks += 1
        return await super().length(stream)


async def looked(b: Bench, store: Watched) -> None:
    """Wait until the engine has looked a few times more."""
    before = store.looks
    await b.until(lambda: store.looks > before + 3)


async def test_reading_pauses_until_somebody_makes_room() -> None:
    store = Watched()
    letters, seen = Letters(store, "numbers"), 0
    async with limited(store, limit="5") as b:
        b.topic("in").extend([b"%d" % number for number in range(40)])
        await b.until(lambda: b.engine.letters.full)
        await looked(b, store)
        kept = await letters.count()
        assert 5 <= kept <= 8, "what had begun is kept, and nothing more begins"
        [problem] = b.engine.problems()
        assert problem.startswith(f"{kept} dead letters in ") and "PENSTOCK_DEAD_LIMIT" in problem
        assert metric(b.engine.metrics, "dead_letters_full") == 1
        assert metric(b.engine.metrics, "dead_letters_kept") == kept
        while seen < 40:
            some = [letter.id for _, letter in await letters.read()]
            seen += await letters.remove(some)
            await b.until(lambda seen=seen: b.engine.letters.written > seen or seen == 40)  # type: ignore[misc]
        assert seen == 40
        await b.until(lambda: not b.engine.letters.full)
        assert b.engine.problems() == []


async def test_a_pipeline_that_begins_at_the_limit_reads_nothing() -> None:
    store = Watched()
    async with limited(store) as b:
        b.topic("in").extend([b"1", b"2"])
        await b.until(lambda: b.confirmed("in") == 2)
    async with limited(store, bytes="1KB") as b:
        b.topic("in").extend([b"3"])
        await looked(b, store)
        assert (b.confirmed("in"), b.engine.letters.full, await b.engine.letters.count()) == (0, True, 2)


async def test_the_oldest_move_to_files_that_can_be_imported(tmp_path: Path) -> None:
    store = MemoryStore()
    async with limited(store, limit="10", folder=str(tmp_path / "dead")) as b:
        b.topic("in").extend([b"%d" % number for number in range(100)])
        await b.until(lambda: b.confirmed("in") == 100)
        assert not b.engine.letters.full
        left = [letter for _, letter in await Letters(store, "numbers").read()]
    moved = [
        post.parsed(line, 1)[1]
        for file in sorted((tmp_path / "dead").iterdir())
        for line in file.read_bytes().splitlines()
    ]
    assert len(left) <= 10
    assert [letter.data for letter in moved + left] == [str(number) for number in range(100)]


async def test_without_a_disk_to_move_them_to_reading_pauses(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = MemoryStore()
    async with limited(store, limit="3", folder=str(tmp_path / "file")) as b:
        b.topic("in").extend([b"%d" % number for number in range(20)])
        await b.until(lambda: b.engine.letters.full)
        [problem] = b.engine.problems()
        assert "PENSTOCK_DEAD_FOLDER" in problem
        (tmp_path / "file").unlink()
        await b.until(lambda: b.confirmed("in") == 20 and not b.engine.letters.full)
    moved = sum(len(file.read_bytes().splitlines()) for file in (tmp_path / "file").iterdir())
    assert moved + await Letters(store, "numbers").count() == 20


def test_sizes_are_written_as_people_do() -> None:
    assert Settings({"PENSTOCK_DEAD_BYTES": "512 MB"}).process.dead_bytes == 512_000_000
    assert Settings({}).process.dead_limit == 100_000
    with pytest.raises(ConfigError, match="PENSTOCK_DEAD_BYTES is 'much'"):
        Settings({"PENSTOCK_DEAD_BYTES": "much"})


def test_a_service_at_its_limit(tmp_path: Path) -> None:
    """A whole process on a real server: it is not ready while there is no room, and goes on when there is."""
    app = http_app(tmp_path)
    with Redis() as server:
        settings = {"PENSTOCK_STORE": server.address, "PENSTOCK_DEAD_LIMIT": "2"}
        with Running("run", app, folder=tmp_path, settings=settings) as running:
            running.ready()
            for number in range(2):
                order = msgspec.json.encode({"id": f"o{number}", "customer": "c", "amount": -1}).decode()
                assert ask(running.url("/orders"), order)[0] == 422
            running.until(lambda: get(running.url("/readyz", admin=True))[0] == 503, "not ready")
            assert "2 dead letters" in get(running.url("/readyz", admin=True))[1]
            told = get(running.url("/metrics", admin=True))[1]
            assert 'penstock_dead_letters_kept{name="orders",pipeline="orders"} 2.0' in told
            assert 'penstock_dead_letters_total{name="priced",pipeline="orders"} 2.0' in told
            assert run("dead", "drop", "--all", "-y", folder=tmp_path, settings=settings).returncode == 0
            running.ready()
            assert (
                'penstock_dead_letters_kept{name="orders",pipeline="orders"} 0.0'
                in (get(running.url("/metrics", admin=True))[1])
            )
