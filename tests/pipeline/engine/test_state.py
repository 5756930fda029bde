"""Stages that update state, in whole pipelines: every form, branches, children, retries; and what `build()` refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from penstock import Pipeline, Retry, harness, merge
from penstock.connectors import Message
from penstock.connectors.http.endpoint import Http
from penstock.connectors.kafka.endpoint import Kafka
from penstock.connectors.memory import Memory
from penstock.connectors.mqtt.endpoint import Mqtt
from penstock.connectors.store.memory import MemoryStore
from penstock.errors import ConfigError
from penstock.pipeline.code import form_of
from penstock.pipeline.engine.kept import compare
from penstock.pipeline.graph import Graph
from penstock.stages import lookup, state
from tests.pipeline.doubles import bench
from tests.pipeline.mistakes import mistake
from tests.pipeline.shop import OUT, Payment, payments


def count(seen: int | None, payment: object) -> int:
    return (seen or 0) + 1


def tell(payment: Payment, seen: int) -> dict[str, int]:
    return {"seen": seen}


async def slowly(payment: Payment) -> Payment:
    await asyncio.sleep(0)
    return payment


def twice(payment: Payment) -> Iterator[Payment]:
    yield payment
    yield payment


SEEN = state(int, by="card", update=count)


@pytest.mark.parametrize("form", ["wave", "slot"])
async def test_every_form_counts(form: str) -> None:
    pipeline = Pipeline("demo")
    stream = payments(pipeline)
    (stream.transform(slowly) if form == "slot" else stream).enrich(seen=SEEN).act(tell, to=OUT)
    graph = pipeline.build()
    assert form_of(graph, graph.sources[0]) == form
    async with harness(pipeline) as h:
        for number in range(1, 4):
            assert (await h.send(Payment("p", "a", 1.0))).actions == [{"seen": number}]
        assert (await h.send(Payment("p", "b", 1.0))).actions == [{"seen": 1}]


async def test_children_and_branches_of_one_event_count_apart() -> None:
    pipeline = Pipeline("demo")
    stream = payments(pipeline)
    merge(stream.transform(twice), stream.filter(lambda payment: True, stage="all")).enrich(seen=SEEN).act(tell, to=OUT)
    async with harness(pipeline) as h:
        assert [one["seen"] for one in (await h.send(Payment("p", "a", 1.0))).actions] == [1, 2, 3]
        assert [one["seen"] for one in (await h.send(Payment("p", "a", 1.0))).actions] == [4, 5, 6]


async def test_what_failed_after_the_update_goes_on_with_what_it_got() -> None:
    failed: list[int] = []

    def moody(payment: Payment, seen: int) -> Payment:
        failed.append(seen)
        if len(failed) < 3:
            raise Retry(after="1s")
        return payment

    pipeline = Pipeline("demo")
    payments(pipeline).enrich(seen=SEEN).transform(moody).act(tell, to=OUT)
    async with harness(pipeline) as h:
        outcome = await h.send(Payment("p", "a", 1.0))
        assert not outcome.finished
        await h.advance("5s")
        assert failed == [1, 1, 1]
        assert [one.data for one in h.sent(OUT)] == [{"seen": 1}]


async def test_a_sibling_that_fails_has_the_update_asked_for_again_and_made_once() -> None:
    failed: list[str] = []

    async def weather(payment: Payment) -> str:
        failed.append(payment.card)
        if len(failed) == 1:
            raise TimeoutError
        return "fair"

    def note(payment: Payment, seen: int, weather: str) -> dict[str, Any]:
        return {"seen": seen, "weather": weather}

    pipeline = Pipeline("demo")
    payments(pipeline).enrich(seen=SEEN, weather=weather).act(note, to=OUT)
    async with harness(pipeline) as h:
        await h.send(Payment("p", "a", 1.0))
        await h.advance("5s")
        await h.send(Payment("p", "a", 1.0))
        assert [one.data["seen"] for one in h.sent(OUT)] == [1, 2]


async def test_an_update_that_raises_is_a_dead_letter_and_leaves_the_value() -> None:
    def grow(total: float | None, payment: Payment) -> float:
        if payment.amount < 0:
            raise ValueError("negative")
        return (total or 0.0) + payment.amount

    def told(payment: Payment, total: float) -> float:
        return total

    pipeline = Pipeline("demo")
    payments(pipeline).enrich(total=state(float, by="card", update=grow)).act(told, to=OUT)
    async with harness(pipeline) as h:
        await h.send(Payment("p", "a", 2.0))
        await h.send(Payment("p", "a", -1.0))
        await h.advance("10m")
        assert [letter.reason for letter in h.dead] == ["ValueError: negative"]
        assert (await h.send(Payment("p", "a", 3.0))).actions == [5.0]


async def test_without_positions_the_id_tells_a_repeat() -> None:
    pipeline = Pipeline("demo")
    pipeline.source(Http("/in"), Mqtt("in"), schema=Payment, id="id").enrich(seen=SEEN).act(tell, to=OUT)
    async with harness(pipeline) as h:
        first = await h.send(Payment("p1", "a", 1.0), to=Http("/in"))
        again = await h.send(Payment("p1", "a", 1.0), to=Http("/in"))
        other = await h.send(Payment("p1", "a", 1.0), to=Mqtt("in"))
        assert first.actions == again.actions == other.actions == [{"seen": 1}]
        assert (await h.send(Payment("p2", "a", 1.0), to=Mqtt("in"))).actions == [{"seen": 2}]
        refused = await h.send(Payment("", "a", 1.0), to=Mqtt("in"))
        assert refused.dead is not None
        assert "the event's id (id) is empty" in refused.dead.reason


async def test_a_copy_in_a_topic_is_the_event_that_went_in() -> None:
    pipeline = Pipeline("demo")
    stream: Any = payments(pipeline).through(Memory("between"), key="card")
    stream.enrich(seen=SEEN).act(tell, to=OUT)
    b = bench(pipeline)
    async with b:
        b.topic("payments").extend([Payment("p1", "a", 1.0), Payment("p2", "a", 1.0)])
        await b.until(lambda: b.confirmed("between") == 2)
        log = b.topic("between").logs[0]
        b.topics.write([message for offset in range(2) if isinstance(message := log.extras[offset], Message)])
        await b.until(lambda: b.confirmed("between") == 4)
        assert await b.engine.store.read_hashes(["penstock:demo:state:seen:a"], ["="]) == [[b"\x02"]]


async def test_repeats_are_counted_where_the_source_says_so() -> None:
    pipeline = Pipeline("demo")
    pipeline.source(Mqtt("in"), schema=Payment, repeats="counted").enrich(seen=SEEN).act(tell, to=OUT)
    async with harness(pipeline) as h:
        assert (await h.send(Payment("p1", "a", 1.0))).actions == [{"seen": 1}]
        assert (await h.send(Payment("p1", "a", 1.0))).actions == [{"seen": 2}]


async def test_state_has_the_name_of_its_stage() -> None:
    pipeline = Pipeline("demo")
    named = state(int, by="card", update=count, stage="visits")
    payments(pipeline).enrich(seen=SEEN).enrich(more=named, profile=lookup("card:{card}", int)).act(tell, to=OUT)
    assert list(pipeline.build().updating) == ["seen", "visits"]
    async with harness(pipeline) as h:
        await h.send(Payment("p", "a", 1.0))
        for stage in ("seen", "visits"):
            assert await h.store.read_hashes([f"penstock:demo:state:{stage}:a"], ["="]) == [[b"\x01"]]


async def test_a_state_that_is_gone_is_told_of_at_the_next_start(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()

    def declared(*names: str) -> Graph:
        pipeline = Pipeline("demo")
        stream = payments(pipeline)
        for name in names:
            stream = stream.enrich(**{name: SEEN})
        stream.end()
        return pipeline.build()

    assert await compare(store, "demo", declared("seen", "visits")) == []
    assert await compare(store, "demo", declared("visits", "seen")) == []
    assert caplog.text == ""
    assert await compare(store, "demo", declared("visits", "more")) == ["seen"]
    assert "demo has state of a stage 'seen'" in caplog.text
    assert "--pattern 'penstock:demo:state:seen:*'" in caplog.text
    assert await compare(store, "demo", declared()) == ["more", "seen", "visits"]
    await store.write_hash("penstock:demo:stages", {"seen": b'{"kind":"state","layout":7}'})
    with pytest.raises(ConfigError, match="the state of 'seen' is kept in layout 7, and this release has 1"):
        await compare(store, "demo", declared("seen"))


@mistake("stage 'seen' is there already, at <first>: name this one with stage='...'")
def test_two_states_of_one_name(p: Any) -> None:
    stream = payments(p)
    stream.enrich(seen=SEEN).end()  # <first>
    stream.enrich(seen=SEEN).end()  # <>


@mistake("seen= Payment has no field 'crad': did you mean 'card'?")
def test_a_key_that_is_no_field(p: Any) -> None:
    payments(p).enrich(seen=state(int, by="crad", update=count)).end()  # <>


@mistake(
    "seen= update slow() is a coroutine function: "
    "it may run again when another process was faster, so it is a plain one"
)
def test_an_update_does_not_wait(p: Any) -> None:
    async def slow(seen: int | None, payment: Payment) -> int:
        return 1

    payments(p).enrich(seen=state(int, by="card", update=slow)).end()  # type: ignore[arg-type]  # <>


@mistake("seen= update one() is called with the value so far, or None, and the payload: it takes these two")
def test_an_update_takes_two(p: Any) -> None:
    def one(seen: int | None) -> int:
        return 1

    update: Any = one
    payments(p).enrich(seen=state(int, by="card", update=update)).end()  # <>


@mistake("seen= update always() takes int as seen, and gets int | None: None for the first event of a key")
def test_an_update_begins_with_none(p: Any) -> None:
    def always(seen: int, payment: Payment) -> int:
        return seen + 1

    update: Any = always
    payments(p).enrich(seen=state(int, by="card", update=update)).end()  # <>


@mistake("seen= keeps Plain, a plain class: make it a msgspec Struct or a dataclass")
def test_a_state_of_a_plain_class(p: Any) -> None:
    class Plain:
        pass

    def other(seen: Plain | None, payment: Payment) -> Plain:
        return Plain()

    payments(p).enrich(seen=state(Plain, by="card", update=other)).end()  # <>


@mistake("seen= update other() takes str as login, but the stream carries Payment")
def test_an_update_takes_the_payload(p: Any) -> None:
    def other(seen: int | None, login: str) -> int:
        return 1

    payments(p).enrich(seen=state(int, by="card", update=other)).end()  # <>


@mistake("seen= update text() returns str, but the state is int")
def test_an_update_returns_the_state(p: Any) -> None:
    def text(seen: int | None, payment: Payment) -> str:
        return ""

    update: Any = text
    payments(p).enrich(seen=state(int, by="card", update=update)).end()  # <>


@mistake(
    "mqtt:in may bring an event twice, and nothing tells a repeat from a new event, "
    "so that 'seen' would count it twice: "
    "name the field that does, id='...', or say that every arrival counts, repeats='counted'"
)
def test_a_source_without_positions_says_what_a_repeat_is(p: Any) -> None:
    p.source(Kafka("in"), Mqtt("in"), schema=Payment).enrich(seen=SEEN).end()  # <>


def test_a_source_with_positions_needs_no_id() -> None:
    pipeline = Pipeline("demo")
    pipeline.source(Kafka("in"), Memory("in"), schema=Payment).enrich(seen=SEEN).end()
    pipeline.source(Mqtt("other"), schema=Payment).enrich(found=lookup("card:{card}", int)).end()
    assert list(pipeline.build().updating) == ["seen"]
