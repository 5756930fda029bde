"""Where dead letters reach their limit: reading pauses, or the oldest move to files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from penstock import Pipeline, Reject
from penstock.connectors import Endpoint, Settings, Site
from penstock.connectors.store.memory import MemoryStore
from penstock.connectors.topics import Topics
from penstock.errors import ConfigError, Unavailable, Undeliverable
from penstock.pipeline.dead import post
from penstock.pipeline.engine.engine import Engine
from penstock.pipeline.engine.metrics import Metrics
from penstock.pipeline.letters import limits
from penstock.pipeline.letters.copies import places
from penstock.pipeline.letters.letters import Letters
from tests.pipeline.doubles import Bench, Memory, scripted
from tests.pipeline.process import Running, get, http_app, run
from tests.pipeline.process import post as ask
from tests.servers import Redis


async def refuse(number: int) -> int:
    raise Reject("never")


def limited(
    store: MemoryStore, *, endpoint: Callable[[Endpoint], Endpoint] = lambda endpoint: endpoint, **settings: str
) -> Bench:
    """A pipeline that makes a letter of everything, one event after the other, under these limits."""
    made = Pipeline("numbers", concurrency=1)
    made.source(Memory("in"), schema=int).transform(refuse).act(lambda number: number, to=Memory("out"), stage="out")
    variables = {f"PENSTOCK_DEAD_{name.upper()}".removesuffix("_"): value for name, value in settings.items()}
    site = Site(Settings(variables), pipeline="numbers")
    return Bench(Engine(made.build(), site, store, endpoint=endpoint), Topics.of(site), site)


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


async def test_letters_are_sent_beside_the_store_and_count_when_they_are_confirmed() -> None:
    store, refusing = MemoryStore(), {"on": True}
    out, sink = scripted("dead", lambda _: Unavailable("scripted", "away") if refusing["on"] else None)
    stands = {"kafka:dead": out}
    async with limited(store, endpoint=lambda one: stands.get(one.address, one), **{"": "store, kafka:dead"}) as b:
        b.topic("in").extend([b"1", b"2"])
        await b.until(lambda: bool(b.engine.outages.down))
        assert b.confirmed("in") == 0
        refusing.clear()
        refusing["on"] = False
        await b.until(lambda: b.confirmed("in") == 2)
    confirmed = {message.id: message for message in sink.taken}
    kept = [letter for _, letter in await Letters(store, "numbers").read()]
    assert list(confirmed) == [letter.id for letter in kept]
    [first, _] = confirmed.values()
    assert (first.type, first.source, first.to) == ("numbers.dead", "/penstock/numbers", "dead")
    assert post.parsed(first.value or b"", 1) == ("numbers", kept[0])


async def test_instead_of_the_store_which_has_what_is_refused() -> None:
    store = MemoryStore()
    out, sink = scripted(
        "dead", lambda message: Undeliverable("too large") if b'"data":"2"' in (message.value or b"") else None
    )
    stands = {"kafka:dead": out}
    async with limited(store, endpoint=lambda one: stands.get(one.address, one), **{"": "kafka:dead"}) as b:
        b.topic("in").extend([b"1", b"2", b"3"])
        await b.until(lambda: b.confirmed("in") == 3)
        assert b.engine.letters.written == 3
    assert len(sink.taken) == 3
    assert [letter.data for _, letter in await Letters(store, "numbers").read()] == ["2"]


def test_places_that_are_none() -> None:
    for wrong in ("nowhere", "kafka:a,kafka:b", ","):
        with pytest.raises(ConfigError, match="write"):
            places(Settings({"PENSTOCK_DEAD": wrong}))


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


def test_letters_in_a_topic_are_imported_into_a_store(tmp_path: Path, kafka_address: str) -> None:
    """A whole process that keeps its letters in Kafka alone; out of the topic they can be replayed."""
    app, topic = http_app(tmp_path), f"dead-{uuid4().hex}"
    with Redis() as server:
        settings = {
            "PENSTOCK_STORE": server.address,
            "PENSTOCK_KAFKA": kafka_address,
            "PENSTOCK_DEAD": f"kafka:{topic}",
        }
        with Running("run", app, folder=tmp_path, settings=settings) as running:
            running.ready()
            order = msgspec.json.encode({"id": "o1", "customer": "c", "amount": -1}).decode()
            status, answer = ask(running.url("/orders"), order)
            assert status == 422
            assert running.stop() == 0
        assert "no dead letter" in run("dead", "list", folder=tmp_path, settings=settings).stderr
        tailed = run("tail", f"kafka:{topic}", "--earliest", "-n", "1", folder=tmp_path, settings=settings)
        taken = run("dead", "import", "-", folder=tmp_path, settings=settings, given=tailed.stdout)
        assert taken.stderr == "1 letter written, 0 there already\n"
        shown = run("dead", "show", "o1/priced", "--payload", folder=tmp_path, settings=settings)
        assert shown.stdout == order, answer
