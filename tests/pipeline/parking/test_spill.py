"""Keys that are set aside: the others go on, nothing is lost or out of order, whoever goes on with them."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock import Pipeline, Retries, Retry, Stream, Unavailable
from penstock.connectors import Http, Mqtt, Settings, Site, Store
from penstock.connectors.store.memory import MemoryStore
from penstock.connectors.store.redis import RedisStore
from penstock.connectors.topics import Topics
from penstock.pipeline.engine import confinement as confining
from penstock.pipeline.engine.confinement import Confinement
from penstock.pipeline.engine.confinement import running as running_in
from penstock.pipeline.engine.engine import Engine
from penstock.pipeline.engine.suspects import Orders
from penstock.pipeline.parking import spill
from penstock.pipeline.testing.harness import Harness
from penstock.stages import state
from tests.connectors.mqtt.rig import Outsider
from tests.connectors.rig import Record
from tests.pipeline.doubles import Asking, Bench, Memory, bench
from tests.servers import Redis

OTHERS = 2_000


class Step(msgspec.Struct, frozen=True):
    id: int
    key: str


class Wider(msgspec.Struct, frozen=True):
    id: int
    key: str
    more: str


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are set aside early."""
    monkeypatch.setattr(spill, "MOST", 20)


async def later(step: Any) -> Any:
    await asyncio.sleep(0)
    return step


class Gate:
    """The act of the test: the event with the id 0 fails until the gate is open."""

    def __init__(self) -> None:
        self.open = False
        self.seen: list[int] = []

    def __call__(self, step: Any) -> int:
        if step.id == 0 and not self.open:
            raise Retry("20ms")
        self.seen.append(step.id)
        return int(step.id)


def gated(form: str, gate: Gate, schema: Any = Step, attempts: int = 1_000_000) -> Pipeline:
    made = Pipeline("spilling", retry=Retries(attempts=attempts, first="20ms", longest="20ms"))
    stream: Stream[Any] = made.source(Memory("in"), schema=schema, key="key", id="id")
    if form == "wave":
        stream = stream.enrich(asked=Asking(lambda step: step.id))
    elif form == "slot":
        stream = stream.transform(later)
    stream.act(gate, to=Memory("out"), stage="pass")
    return made


def encoded(start: int, stop: int, key: Callable[[int], str]) -> list[bytes]:
    return [msgspec.json.encode(Step(number, key(number))) for number in range(start, stop)]


def mixed(number: int) -> str:
    return "hot" if number % 10 == 0 else f"k{number % 100}"


def acted(b: Bench) -> list[int]:
    return [msgspec.json.decode(one.value) for one in b.topic("out").entries()]


def running(pipeline: Pipeline, site: Site, store: Store) -> Bench:
    return Bench(Engine(pipeline.build(), site, store), Topics.of(site), site)


async def killed(b: Bench) -> None:
    """What is left of an engine whose process has died."""
    tasks = [*b.engine.workers, *b.engine.pumps, *b.engine._work]
    b.engine.stopping = True
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def died(pipeline: Pipeline, site: Site, store: Store, count: int) -> Bench:
    """An engine that has set aside so many events of one key, and then died."""
    first = running(pipeline, site, store)
    await first.engine.start()
    first.topic("in").extend(encoded(0, count, lambda number: "hot"))
    await first.until(lambda: first.confirmed("in") == count)
    await killed(first)
    return first


async def test_the_others_go_on_and_the_key_follows_in_order(form: str) -> None:
    gate = Gate()
    async with bench(gated(form, gate)) as b:
        b.topic("in").extend(encoded(0, OTHERS, mixed))
        await b.until(lambda: b.confirmed("in") == OTHERS)
        assert sorted(acted(b)) == [number for number in range(OTHERS) if number % 10]
        found = b.engine.statistics()
        assert found["spilled"]["in"] == OTHERS // 10 - 1
        assert (found["spilled_keys"]["in"], found["parked"]["in"]) == (1, 0)
        gate.open = True
        await b.until(lambda: len(acted(b)) == OTHERS)
        assert [number for number in acted(b) if number % 10 == 0] == list(range(0, OTHERS, 10))
        await b.until(lambda: not b.engine.busy and b.engine.statistics()["spilled_keys"]["in"] == 0)
        assert await b.engine.store.length("penstock:spilling:parked:in/0") == 0
        assert b.engine.letters.written == 0
        b.topic("in").extend(encoded(OTHERS, OTHERS + 1, mixed))
        await b.until(lambda: len(acted(b)) == OTHERS + 1)
        lane = b.engine.lanes[0]
        assert (lane.feed.table, lane.feed.parked, lane.in_flight) == ({}, 0, 0)


class Noting(Gate):
    """Reads what a parent would know if the process ended at this event."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.known: dict[int, list[str]] = {}

    def __call__(self, step: Any) -> int:
        self.known[step.id] = running_in(self.file)
        return super().__call__(step)


def place(number: int) -> str:
    return f"memory:in/0/{number:019d}"


@pytest.mark.parametrize("early", [True, False], ids=["watched before", "watched when it is aside"])
async def test_what_comes_back_is_written_down_where_somebody_looks_for_a_killer(
    form: str, early: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confining, "PATIENCE", 0.05)
    monkeypatch.setattr(confining, "SOLITUDE", 0.05)
    gate = Noting(tmp_path / "started")
    confinement = Confinement(gate.file, tmp_path / "orders")
    confinement.begin()
    site = Site(Settings({}), pipeline="spilling")
    engine = Engine(gated(form, gate).build(), site, MemoryStore(), confinement=confinement)
    confinement.opened = lambda: [batch for lane in engine.lanes for batch in lane.open]
    orders = Orders(time.time() + 1000.0, frozenset({place(27)}), {} if early else {place(25): "it ended the process"})

    def watch() -> None:
        orders.write(tmp_path / "orders")
        confinement.look()

    if early:
        watch()
    async with Bench(engine, Topics.of(site), site) as b:
        b.topic("in").extend(encoded(0, 40, lambda number: "hot"))
        await b.until(lambda: b.confirmed("in") == 40)
        if not early:
            watch()
        monkeypatch.setattr(confining, "SOLITUDE", 60.0)
        gate.open = True
        expected = [number for number in range(40) if early or number != 25]
        await b.until(lambda: acted(b) == expected and not engine.busy)
        assert [number for number in expected[1:] if place(number) not in gate.known[number]] == []
        assert gate.known[27] == [place(27)], "alone"
        if early:
            assert place(0) in gate.known[0]
        else:
            assert gate.known[0] == ["?"], "what began before it was watched has no name"
        letters = [letter for _, letter in await engine.letters.read()]
        assert [(letter.error, letter.position) for letter in letters] == (
            [] if early else [("Deadly", "in/0/0000000000000000025")]
        )
        await b.until(lambda: not engine.busy and engine.statistics()["spilled_keys"]["in"] == 0)
        assert await engine.store.length("penstock:spilling:parked:in/0") == 0
    confinement.end()


async def test_large_events_are_set_aside_by_their_weight(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "MOST", 1_000)
    monkeypatch.setattr(spill, "HEAVY", 10_000)
    gate = Gate()
    async with bench(gated(form, gate)) as b:
        b.topic("in").extend(encoded(0, 10, lambda number: "hot"))
        b.topic("in").extend([msgspec.json.encode({"id": 10 + at, "key": "hot", "x": "y" * 5_000}) for at in range(9)])
        await b.until(lambda: b.confirmed("in") == 19)
        assert (b.engine.statistics()["parked_bytes"]["in"], b.engine.lanes[0].feed.parked) == (0, 0)
        gate.open = True
        await b.until(lambda: acted(b) == list(range(19)))
        assert b.engine.lanes[0].feed.weight == 0


async def test_what_comes_while_the_key_goes_on_waits_behind_it(form: str) -> None:
    gate = Gate()
    async with bench(gated(form, gate)) as b:
        b.topic("in").extend(encoded(0, 200, lambda number: "hot"))
        await b.until(lambda: b.confirmed("in") == 200)
        gate.open = True
        for start in range(200, 1000, 50):
            b.topic("in").extend(encoded(start, start + 50, lambda number: "hot"))
            await asyncio.sleep(0)
        await b.until(lambda: len(acted(b)) == 1000)
        assert acted(b) == list(range(1000))


async def test_a_process_that_dies_leaves_it_to_the_next(form: str) -> None:
    """All that was set aside is confirmed to the source, which has forgotten it."""
    gate, store = Gate(), MemoryStore()
    site = Site(Settings({}), pipeline="spilling")
    await died(gated(form, gate), site, store, 300)
    after = Gate()
    after.open = True
    second = running(gated(form, after), site, store)
    async with second:
        second.topic("in").extend(encoded(300, 301, lambda number: "hot"))
        await second.until(lambda: len(acted(second)) == 301)
        assert acted(second) == list(range(301))


async def test_what_was_not_confirmed_when_it_died_comes_by_both_ways_in_order(form: str) -> None:
    gate, store = Gate(), MemoryStore()
    site = Site(Settings({}), pipeline="spilling")
    first = await died(gated(form, gate), site, store, 300)
    first.topic("in").position(site.group)[:] = [0]
    after = Gate()
    after.open = True
    second = running(gated(form, after), site, store)
    async with second:
        await second.until(lambda: len(acted(second)) == 300)
        await second.until(lambda: second.confirmed("in") == 300)
        # What comes from its source after it has ended by the other way is a repeat like any other.
        assert list(dict.fromkeys(acted(second))) == list(range(300))


@pytest.mark.parametrize("slow", ["wave", "slot"])
async def test_state_is_exact_although_an_event_comes_by_two_ways(slow: str) -> None:
    """What was set aside keeps its place in its origin, which the guard of the state knows it by."""
    gate, store = Gate(), MemoryStore()

    def counting(gate: Gate) -> Pipeline:
        made = Pipeline("counting", retry=Retries(attempts=1_000_000, first="20ms", longest="20ms"))
        stream: Stream[Step] = made.source(Memory("in"), schema=Step, key="key", id="id")
        if slow == "slot":
            stream = stream.transform(later)
        counted = stream.enrich(seen=state(int, by=shop, update=more))
        counted.act(told(gate), to=Memory("out"), stage="tell")
        return made

    site = Site(Settings({}), pipeline="counting")
    first = running(counting(gate), site, store)
    await first.engine.start()
    first.topic("in").extend(encoded(0, 500, mixed))
    await first.until(lambda: first.confirmed("in") == 500)
    await killed(first)
    first.topic("in").position(site.group)[:] = [0]
    after = Gate()
    after.open = True
    second = running(counting(after), site, store)
    async with second:
        await second.until(lambda: second.confirmed("in") == 500 and set(after.seen) == set(range(500)))
        second.topic("in").extend(encoded(500, 507, lambda number: "last"))
        await second.until(lambda: second.confirmed("in") == 507)
        told_last = [msgspec.json.decode(one.value) for one in second.topic("out").entries()]
    counts = {one["id"] % 7: one["seen"] for one in told_last if one["id"] >= 500}
    assert counts == {shop: len(range(shop, 507, 7)) for shop in range(7)}
    hot = [number for number in after.seen if number % 10 == 0 and number < 500]
    assert list(dict.fromkeys(hot)) == list(range(0, 500, 10))


def shop(step: Step) -> str:
    return str(step.id % 7)


def more(seen: int | None, step: Step) -> int:
    return (seen or 0) + 1


def told(gate: Gate) -> Callable[..., dict[str, int]]:
    def tell(step: Step, seen: int) -> dict[str, int]:
        return {"id": gate(step), "seen": seen}

    return tell


async def test_a_partition_from_which_nothing_comes_is_adopted() -> None:
    gate, store = Gate(), MemoryStore()
    first = bench(gated("loop", gate), store=store)
    await first.engine.start()
    first.topic("in").extend(encoded(0, 100, lambda number: "hot"))
    await first.until(lambda: first.confirmed("in") == 100)
    await killed(first)
    aside = first.engine.lanes[0].feed.aside
    assert aside is not None
    await aside.leases.close()
    after = Gate()
    after.open = True
    async with bench(gated("loop", after), store=store) as second:
        await second.until(lambda: len(acted(second)) == 100)
        assert acted(second) == list(range(100))


@pytest.fixture
def server() -> Iterator[Redis]:
    with Redis({"appendfsync": "always"}) as one:
        yield one


def stored(server: Redis) -> RedisStore:
    return RedisStore(Site(Settings({"PENSTOCK_STORE": server.address})))


async def test_on_a_real_store_across_its_death_and_ours(form: str, server: Redis) -> None:
    gate = Gate()
    site = Site(Settings({}), pipeline="spilling")
    first = running(gated(form, gate), site, stored(server))
    await first.engine.start()
    first.topic("in").extend(encoded(0, OTHERS, mixed))
    await first.until(lambda: first.confirmed("in") == OTHERS)
    await asyncio.to_thread(server.kill)
    first.topic("in").extend(encoded(OTHERS, OTHERS + 200, mixed))
    await first.until(lambda: bool(first.engine.problems()))
    await asyncio.to_thread(server.start)
    await first.until(lambda: first.confirmed("in") == OTHERS + 200)
    await killed(first)
    await first.engine.store.close()
    after = Gate()
    after.open = True
    second = running(gated(form, after), site, stored(server))
    async with second:
        second.topic("in").extend(encoded(OTHERS + 200, OTHERS + 201, mixed))
        await second.until(lambda: len(set(acted(second))) == OTHERS + 201)
        hot = [number for number in acted(second) if number % 10 == 0]
        assert hot == list(range(0, OTHERS + 201, 10))
        await second.until(lambda: not second.engine.busy)
        assert await second.engine.store.length("penstock:spilling:parked:in/0") == 0


class Failing(MemoryStore):
    down = False

    async def append(self, stream: str, entry: Any, *, id: str = "") -> str:
        if self.down:
            raise Unavailable("store", "gone")
        return await super().append(stream, entry, id=id)


async def test_nothing_is_confirmed_before_the_store_has_it(form: str) -> None:
    gate, store = Gate(), Failing()
    store.down = True
    async with bench(gated(form, gate), store=store) as b:
        b.topic("in").extend(encoded(0, 300, lambda number: "hot"))
        await b.until(lambda: "store" in b.engine.outages.down)
        assert b.confirmed("in") == 0
        store.down = False
        await b.until(lambda: b.confirmed("in") == 300)
        assert b.engine.outages.down == {}
        gate.open = True
        await b.until(lambda: len(acted(b)) == 300)
        assert acted(b) == list(range(300))


async def test_the_first_of_a_key_may_end_as_a_dead_letter(form: str) -> None:
    gate = Gate()
    async with bench(gated(form, gate, attempts=20)) as b:
        b.topic("in").extend(encoded(0, 300, lambda number: "hot"))
        await b.until(lambda: len(acted(b)) == 299)
        assert acted(b) == list(range(1, 300))
        ((_, letter),) = await b.engine.letters.read()
        assert (letter.key, letter.attempts, letter.position) == ("hot", 20, "in/0/0000000000000000000")
        assert msgspec.json.decode(letter.payload) == {"id": 0, "key": "hot"}


async def test_what_can_no_longer_be_read_is_a_dead_letter(form: str) -> None:
    gate, store = Gate(), MemoryStore()
    site = Site(Settings({}), pipeline="spilling")
    await died(gated(form, gate), site, store, 60)
    after = Gate()
    after.open = True
    second = running(gated(form, after, Wider), site, store)
    async with second:
        second.topic("in").extend([msgspec.json.encode(Wider(60, "hot", "x"))])
        await second.until(lambda: second.engine.letters.written == 60 and len(acted(second)) == 1)
        letters = [letter for _, letter in await second.engine.letters.read(count=100)]
        assert {letter.reason for letter in letters} == {"Object missing required field `more`"}


async def test_without_positions_the_first_that_waits_holds_up_nobody() -> None:
    """MQTT confirms in the order of receipt: one event that waits would stop the client at its receive maximum."""
    gate = Gate()
    made = Pipeline("mqtt", retry=Retries(attempts=3, first="10s", longest="10s"))
    made.source(Mqtt("in"), schema=Step, key="key", id="id").act(late(gate), to=Memory("out"), stage="pass")
    testing = Harness(made, {}, {}, {}, 1_750_000_000.0)
    testing.engine.spilling = True
    async with testing as h:
        outcomes = [await h.send(Step(number, "hot")) for number in range(30)]
        assert all(outcome.finished for outcome in outcomes)
        assert h.sent(Memory("out")) == []
        gate.open = True
        await h.advance("1m")
        assert [one.data for one in h.sent(Memory("out"))] == list(range(30))
        assert await h.store.length("penstock:mqtt:parked:in/0") == 0


async def test_one_that_waits_does_not_stop_a_real_mqtt_client(mqtt_address: str) -> None:
    gate, store = Gate(), MemoryStore()
    topic = f"spill/{uuid.uuid4().hex}"
    made = Pipeline(f"mqtt-{uuid.uuid4().hex[:8]}", retry=Retries(attempts=100, first="1s", longest="1s"))

    def decide(step: Step) -> int:
        if step.id == 0 and not gate.open:
            raise Retry("2s")
        return gate(step)

    made.source(Mqtt(topic), schema=Step, key="key", id="id").act(decide, to=Memory("out"))
    site = Site(Settings({"PENSTOCK_MQTT": f"{mqtt_address}?receive_maximum=20"}), pipeline=made.name)
    b = running(made, site, store)
    async with b:
        records = [Record(value) for value in encoded(0, 300, mixed)]
        await asyncio.to_thread(Outsider(mqtt_address).publish, topic, records)
        await b.until(lambda: len(gate.seen) == 270)
        assert all(number % 10 for number in gate.seen)
        await b.until(lambda: b.engine.lanes[0].in_flight == 1)
        gate.open = True
        await b.until(lambda: len(gate.seen) == 300)
        assert [number for number in gate.seen if number % 10 == 0] == list(range(0, 300, 10))


def late(gate: Gate) -> Callable[[Step], int]:
    def decide(step: Step) -> int:
        if step.id == 0 and not gate.open:
            raise RuntimeError("not yet")
        return gate(step)

    return decide


async def test_who_waits_for_an_answer_is_not_set_aside() -> None:
    gate = Gate()
    made = Pipeline("waited", retry=Retries(attempts=3, first="1s", longest="1s"))
    made.source(Http("/in"), schema=Step, key="key", id="id").act(gate, to=Memory("out"), stage="pass")
    testing = Harness(made, {}, {}, {}, 1_750_000_000.0)
    testing.engine.spilling = True
    async with testing as h:
        outcomes = [await h.send(Step(number, "hot")) for number in range(60)]
        assert not any(outcome.finished for outcome in outcomes)
        assert h.engine.statistics()["spilled_keys"]["/in"] == 0
        await h.advance("1m")
        assert [one.data for one in h.sent(Memory("out"))] == list(range(1, 60))


async def test_the_floor_of_a_guard_stays_below_what_was_set_aside() -> None:
    gate = Gate()
    async with bench(gated("loop", gate)) as b:
        b.topic("in").extend(encoded(0, 100, lambda number: "hot"))
        await b.until(lambda: b.confirmed("in") == 100)
        aside = b.engine.lanes[0].feed.aside
        assert aside is not None
        [(_, (lowest, count))] = aside.floors._held.items()
        assert (int(lowest), count) == (0, 100)
        gate.open = True
        await b.until(lambda: not aside.floors._held)


async def test_a_partition_that_somebody_else_has_taken_is_left_to_them() -> None:
    gate, store = Gate(), MemoryStore()
    async with bench(gated("loop", gate), store=store) as b:
        b.topic("in").extend(encoded(0, 100, lambda number: "hot"))
        await b.until(lambda: b.confirmed("in") == 100)
        await store.write("penstock:spilling:parked:in/0:lease", b"another")
        aside = b.engine.lanes[0].feed.aside
        assert aside is not None
        await aside.adopt()
        assert aside.count == 0
        gate.open = True
        await b.until(lambda: acted(b) == [0] and not aside.keys)
        assert await store.length("penstock:spilling:parked:in/0") == 99


def test_spilling_is_part_of_the_order_by_key_alone() -> None:
    made = Pipeline("unordered", order="none")
    made.source(Memory("in"), schema=Step).act(lambda step: step.id, to=Memory("out"), stage="pass")

    async def look() -> None:
        async with bench(made) as b:
            assert b.engine.lanes[0].feed.aside is None

    asyncio.run(look())
