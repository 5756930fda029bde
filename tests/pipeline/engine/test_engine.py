"""What the engine promises, in each of the forms it compiles to."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock import (
    Action,
    Event,
    Pipeline,
    Reject,
    Retries,
    Retry,
    Stream,
    Unavailable,
    Undeliverable,
    batched,
    call,
    merge,
)
from penstock.connectors import Message, Settings, Site
from penstock.connectors.store.memory import MemoryStore
from penstock.connectors.topics import Topics
from penstock.models.prediction import Prediction
from penstock.pipeline.clock import ManualClock
from penstock.pipeline.engine.engine import Engine
from penstock.pipeline.testing.harness import harness
from tests.pipeline.doubles import Asking, Bench, Memory, bench, scripted

FORMS = ("loop", "wave", "slot")


class Step(msgspec.Struct, frozen=True):
    id: int
    key: str
    fate: str = ""


def same(step: Step) -> Step:
    return step


async def later(step: Step) -> Step:
    await asyncio.sleep(0)
    return step


def pipeline(form: str, **options: Any) -> tuple[Pipeline, Stream[Step]]:
    """A pipeline of steps, and its stream after a stage that makes it compile to the form."""
    made = Pipeline("steps", **options)
    stream = made.source(Memory("in"), schema=Step, key="key", id="id")
    if form == "wave":
        return made, stream.enrich(asked=Asking(lambda step: step.id)).transform(same)
    return made, stream.transform(later) if form == "slot" else stream.transform(same)


def encoded(*steps: Step) -> list[bytes]:
    return [msgspec.json.encode(step) for step in steps]


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_it_compiles_to_the_form(form: str) -> None:
    made, stream = pipeline(form)
    stream.end()
    async with harness(made) as h:
        assert h.engine.lanes[0].program.form == form


async def test_every_event_is_acted_on_and_confirmed(form: str) -> None:
    made, stream = pipeline(form)
    stream.act(lambda step: step, to=Memory("out"), stage="pass")
    async with bench(made) as b:
        b.topic("in").extend(encoded(*(Step(number, f"k{number % 7}") for number in range(3000))))
        await b.until(lambda: b.confirmed("in") == 3000)
        assert sorted(msgspec.json.decode(one.value)["id"] for one in b.topic("out").entries()) == list(range(3000))


async def test_actions_of_a_key_come_in_order_and_other_keys_overtake(form: str) -> None:
    made, stream = pipeline(form, retry=Retries(attempts=5, first="1ms", longest="2ms"))
    tried: set[int] = set()

    def fails_once(step: Step) -> Step:
        if step.fate == "slow" and step.id not in tried:
            tried.add(step.id)
            raise ValueError("once")
        return step

    stream.transform(fails_once).act(lambda step: step, to=Memory("out"), stage="pass")
    steps = [Step(number, f"k{number % 5}", "slow" if number % 11 == 0 else "") for number in range(500)]
    async with bench(made) as b:
        b.topic("in").extend(encoded(*steps))
        await b.until(lambda: b.confirmed("in") == 500)
        ids = [msgspec.json.decode(one.value)["id"] for one in b.topic("out").entries()]
    by_key: dict[int, list[int]] = defaultdict(list)
    for number in ids:
        by_key[number % 5].append(number)
    assert all(numbers == sorted(numbers) for numbers in by_key.values())
    assert ids != sorted(ids)
    assert len(ids) == 500


async def test_a_retry_goes_on_where_it_failed(form: str) -> None:
    made, stream = pipeline(form, retry=Retries(attempts=3, first="10s", longest="10s"))
    calls: list[str] = []

    def before(step: Step) -> Step:
        calls.append("before")
        return step

    def failing(step: Step) -> Step:
        calls.append("failing")
        if calls.count("failing") < 3:
            raise RuntimeError("not yet")
        return step

    stream.transform(before).transform(failing).act(lambda step: step.id, to=Memory("out"), stage="pass")
    async with harness(made) as h:
        outcome = await h.send(Step(1, "k"))
        assert not outcome.finished
        await h.advance("1m")
        assert h.sent(Memory("out"))[0].data == 1
    assert calls == ["before", "failing", "failing", "failing"]


async def test_a_failing_key_waits_and_the_others_go_on(form: str) -> None:
    made, stream = pipeline(form, retry=Retries(attempts=2, first="10s", longest="10s"))
    seen: list[int] = []

    def failing(step: Step) -> int:
        if step.fate == "fails" and step.id not in seen:
            seen.append(step.id)
            raise RuntimeError("once")
        return step.id

    stream.act(failing, to=Memory("out"))
    async with harness(made) as h:
        assert not (await h.send(Step(1, "a", "fails"))).finished
        assert not (await h.send(Step(2, "a"))).finished
        assert (await h.send(Step(3, "b"))).actions == [3]
        await h.advance("30s")
        assert h.actions(failing) == [3, 1, 2]


async def test_an_exhausted_event_is_a_dead_letter_with_everything_in_it(form: str) -> None:
    made, stream = pipeline(form, retry=Retries(attempts=2, first="1s", longest="1s"))

    def failing(step: Step) -> None:
        raise ZeroDivisionError("never works")

    stream.act(failing, to=Memory("out"))
    async with harness(made) as h:
        await h.send(Step(7, "k"))
        await h.advance("1m")
        (letter,) = h.dead
        assert (letter.stage, letter.error, letter.attempts, letter.event) == ("failing", "ZeroDivisionError", 2, "7")
        assert letter.reason == "ZeroDivisionError: never works"
        assert msgspec.json.decode(letter.payload, type=Step) == Step(7, "k")
        assert letter.where.startswith(f"{__file__}:")
        assert (await h.send(Step(8, "other"))).dead is None


async def test_a_rejected_event_is_a_dead_letter_at_once(form: str) -> None:
    made, stream = pipeline(form)

    def reject(step: Step) -> None:
        raise Reject("no such card")

    stream.act(reject, to=Memory("out"))
    async with harness(made) as h:
        outcome = await h.send(Step(1, "k"))
        assert outcome.finished and outcome.dead is not None
        assert (outcome.dead.reason, outcome.dead.attempts) == ("no such card", 1)


async def test_a_reason_that_no_encoding_has_is_kept_as_well_as_can_be(form: str) -> None:
    made, stream = pipeline(form)

    def reject(step: Step) -> None:
        raise Reject("no file \udcff")

    stream.act(reject, to=Memory("out"))
    async with harness(made) as h:
        outcome = await h.send(Step(1, "k"))
        assert outcome.dead is not None and outcome.dead.reason == "no file ?"


async def test_two_bad_events_that_claim_one_id_are_two_letters(form: str) -> None:
    made, stream = pipeline(form)

    def reject(step: Step) -> None:
        raise Reject("no")

    stream.act(reject, to=Memory("out"))
    async with harness(made) as h:
        for fate in ("x", "y", "x"):
            await h.send(Step(1, "k", fate))
        kept = [letter for _, letter in await h.engine.letters.read()]
        assert sorted(msgspec.json.decode(letter.payload)["fate"] for letter in kept) == ["x", "y"]


async def test_several_sources_of_one_lane_are_all_read_on(form: str) -> None:
    made = Pipeline("several", concurrency=4)
    source = made.source(Memory("one"), Memory("two"), Memory("three"), schema=Step, key="key", id="id")
    stream = source.enrich(asked=Asking(lambda step: step.id)) if form == "wave" else source
    stream.transform(later if form == "slot" else same).end()
    async with bench(made) as b:
        for number in range(30):
            for name in ("one", "two", "three"):
                b.topic(name).extend(encoded(*(Step(number * 10 + place, f"k{place}") for place in range(10))))
            await asyncio.sleep(0)
        await b.until(lambda: sum(b.confirmed(name) for name in ("one", "two", "three")) == 900)


async def test_retry_after_is_honoured(form: str) -> None:
    made, stream = pipeline(form)
    asked: list[float] = []

    async with harness(made_with(stream, asked, made)) as h:
        asked.append(-1.0)
        await h.send(Step(1, "k"))
        await h.advance("59s")
        assert h.sent(Memory("out")) == []
        await h.advance("2s")
        assert [one.data for one in h.sent(Memory("out"))] == [1]


def made_with(stream: Stream[Step], asked: list[float], made: Pipeline) -> Pipeline:
    def again(step: Step) -> int:
        if asked:
            asked.clear()
            raise Retry("1m")
        return step.id

    stream.act(again, to=Memory("out"))
    return made


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b'{"id": 1, "key": "k", "x": ' + b"[" * 100_000, "not valid JSON"),
        (b'{"id": "x", "key": "k"}', "Expected `int`, got `str` at $.id"),
        (b'{"id": 1}', "Object missing required field `key`"),
        (b'{"id": 1, "key": null}', "Expected `str`, got `null` at $.key"),
        (b'{"id": NaN, "key": "k"}', "not valid JSON"),
        (None, "no value"),
    ],
)
async def test_bytes_that_are_no_payload_are_dead_letters(form: str, raw: bytes | None, reason: str) -> None:
    made, stream = pipeline(form)
    stream.act(lambda step: step.id, to=Memory("out"), stage="pass")
    async with harness(made) as h:
        outcome = await h.send(raw)
        assert outcome.dead is not None and reason in outcome.dead.reason
        assert outcome.dead.payload == (raw or b"")
        assert (await h.send(Step(1, "k"))).actions == [1]


async def test_a_payload_without_its_key_is_a_dead_letter(form: str) -> None:
    made = Pipeline("keyless")
    stream: Stream[dict[str, Any]] = made.source(Memory("in"), schema=dict[str, Any], key="card")
    if form == "wave":
        stream = stream.enrich(asked=Asking(len))
    elif form == "slot":
        stream = stream.transform(slowly)
    stream.act(lambda payload: payload, to=Memory("out"), stage="pass")
    async with harness(made) as h:
        await h.send({"card": "busy"})
        for payload in ({"amount": 1}, {"card": None}):
            outcome = await h.send(payload)
            assert outcome.finished
        assert [letter.reason for letter in h.dead] == ["the key field card is missing", "the key field card is null"]


async def slowly(payload: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(0)
    return payload


async def test_a_transform_that_returns_none_says_what_to_write(form: str) -> None:
    made, stream = pipeline(form)
    stream.transform(lambda step: None if step.fate else step, stage="drops").end()
    async with harness(made) as h:
        outcome = await h.send(Step(1, "k", "x"))
        assert outcome.dead is not None
        assert (
            outcome.dead.reason == "'drops' returned None: to drop events use .filter(...), or yield the ones to keep"
        )


@pytest.mark.parametrize("raised", [SystemExit, asyncio.CancelledError, RecursionError, MemoryError])
async def test_nothing_a_function_raises_stops_the_pipeline(form: str, raised: type[BaseException]) -> None:
    made, stream = pipeline(form, retry=Retries(attempts=1))

    def rude(step: Step) -> int:
        if step.fate:
            raise raised
        return step.id

    stream.act(rude, to=Memory("out"))
    async with harness(made) as h:
        outcome = await h.send(Step(1, "k", "x"))
        assert outcome.dead is not None and outcome.dead.error == raised.__name__
        assert (await h.send(Step(2, "k"))).actions == [2]


async def test_filtered_events_are_finished_and_counted(form: str) -> None:
    made, stream = pipeline(form)
    stream.filter(lambda step: step.id % 2 == 0, stage="even").act(lambda step: step.id, to=Memory("out"), stage="pass")
    async with harness(made) as h:
        outcomes = [await h.send(Step(number, "k")) for number in range(4)]
        assert [outcome.actions for outcome in outcomes] == [[0], [], [2], []]
        assert h.engine.statistics()["filtered"] == {"even": 2}


async def test_split_runs_its_predicate_once(form: str) -> None:
    made, stream = pipeline(form)
    asked: list[int] = []

    def even(step: Step) -> bool:
        asked.append(step.id)
        return step.id % 2 == 0

    yes, no = stream.split(even)
    yes.act(lambda step: step.id, to=Memory("even"), stage="yes")
    no.act(lambda step: step.id, to=Memory("odd"), stage="no")
    async with harness(made) as h:
        for number in range(4):
            await h.send(Step(number, "k"))
        assert (h.actions("yes"), h.actions("no"), asked) == ([0, 2], [1, 3], [0, 1, 2, 3])


async def test_a_generator_makes_children_with_ids_of_their_own(form: str) -> None:
    made, stream = pipeline(form)

    def each(step: Step) -> Iterator[str]:
        yield from step.fate

    stream.transform(each).act(lambda letter: letter, to=Memory("out"), stage="say")
    async with harness(made) as h:
        outcome = await h.send(Step(1, "k", "abc"))
        assert [(one.data, one.id) for one in outcome.sent] == [("a", "1/say.0"), ("b", "1/say.1"), ("c", "1/say.2")]
        assert (await h.send(Step(2, "k", ""))).finished


async def test_an_async_generator_is_one_too() -> None:
    made, stream = pipeline("slot")

    async def each(step: Step) -> AsyncIterator[str]:
        for letter in step.fate:
            await asyncio.sleep(0)
            yield letter

    stream.transform(each).act(lambda letter: letter, to=Memory("out"), stage="say")
    async with harness(made) as h:
        assert (await h.send(Step(1, "k", "ab"))).actions == ["a", "b"]


async def test_one_failing_child_leaves_the_others_alone(form: str) -> None:
    made, stream = pipeline(form, retry=Retries(attempts=1))

    def each(step: Step) -> Iterator[str]:
        yield from step.fate

    def say(letter: str) -> str:
        if letter == "b":
            raise ValueError(letter)
        return letter

    stream.transform(each).act(say, to=Memory("out"))
    async with harness(made) as h:
        outcome = await h.send(Step(1, "k", "abc"))
        assert outcome.actions == ["a", "c"]
        assert outcome.dead is not None and outcome.dead.id.startswith("1/say.1~")
        assert outcome.dead.done == ("1/say.0", "1/say.2")


async def test_branches_are_independent_and_nothing_leaves_before_all_acts_returned(form: str) -> None:
    made, stream = pipeline(form, retry=Retries(attempts=2, first="10s", longest="10s"))
    failed: list[int] = []
    seen: list[str] = []

    def first(step: Step) -> int:
        seen.append("first")
        return step.id

    def second(step: Step) -> int:
        if not failed:
            failed.append(step.id)
            raise RuntimeError("once")
        return -step.id

    stream.act(first, to=Memory("first"))
    stream.act(second, to=Memory("second"))
    async with harness(made) as h:
        assert (await h.send(Step(1, "k"))).actions == []
        await h.advance("30s")
        assert (h.actions(first), h.actions(second), seen) == ([1], [-1], ["first"])


async def test_merge_joins_branches_and_ids_stay_apart(form: str) -> None:
    made, stream = pipeline(form)
    merge(stream, stream.transform(same, stage="again")).act(lambda step: step.id, to=Memory("out"), stage="pass")
    async with harness(made) as h:
        outcome = await h.send(Step(1, "k"))
        assert sorted(one.id for one in outcome.sent) == ["1/pass.0", "1/pass.1"]


async def test_actions_say_more_than_payloads(form: str) -> None:
    made, stream = pipeline(form)

    def decide(step: Step, event: Event) -> list[Action[dict[str, int]] | None]:
        return [
            Action({"n": step.id}, key="other", headers={"why": event.id}, type="decision", subject="s"),
            None,
            Action(None, key="gone"),
        ]

    stream.act(decide, to=Memory("out"))
    async with harness(made) as h:
        one, two = (await h.send(Step(5, "k"))).sent
        assert (one.data, one.key, one.headers, one.type, one.id) == (
            {"n": 5},
            "other",
            {"why": "5"},
            "decision",
            "5/decide.0",
        )
        assert (two.data, two.key, two.id) == (None, "gone", "5/decide.2")


async def test_a_payload_that_cannot_be_written_is_the_events_own_failure(form: str) -> None:
    made, stream = pipeline(form, retry=Retries(attempts=1))
    stream.act(lambda step: object(), to=Memory("out"), stage="odd")
    async with harness(made) as h:
        outcome = await h.send(Step(1, "k"))
        assert outcome.dead is not None and "cannot be written as JSON" in outcome.dead.reason


async def test_an_outage_of_a_sink_makes_no_dead_letters_and_keeps_the_order(form: str) -> None:
    down = [True]
    endpoint, sink = scripted(answer=lambda message: Unavailable("broker", "gone") if down[0] else None)
    made, stream = pipeline(form)
    stream.act(lambda step: step.id, to=endpoint, stage="pass")
    async with bench(made) as b:
        b.topic("in").extend(encoded(*(Step(number, "k") for number in range(50))))
        await b.until(lambda: bool(b.engine.outages.down))
        assert any("broker" in problem for problem in b.engine.problems())
        assert b.confirmed("in") == 0
        down[0] = False
        await b.until(lambda: b.confirmed("in") == 50)
        assert b.engine.problems() == []
        assert b.engine.letters.written == 0
    last = {message.id: place for place, message in enumerate(sink.taken)}
    assert [int(name.split("/")[0]) for name in sorted(last, key=last.__getitem__)] == list(range(50))


async def test_a_refused_action_is_a_dead_letter_and_the_event_is_confirmed(form: str) -> None:
    def answer(message: Message) -> BaseException | None:
        return Undeliverable("too large") if message.id.startswith("3/") else None

    endpoint, _ = scripted(answer=answer)
    made, stream = pipeline(form)
    stream.act(lambda step: step.id, to=endpoint, stage="pass")
    async with bench(made) as b:
        b.topic("in").extend(encoded(*(Step(number, "k") for number in range(10))))
        await b.until(lambda: b.confirmed("in") == 10)
        ((_, letter),) = await b.engine.letters.read()
        assert (letter.stage, letter.reason) == ("pass", "too large")


async def test_nothing_is_confirmed_before_its_action_is(form: str) -> None:
    endpoint, sink = scripted(answer=lambda message: "wait")
    made, stream = pipeline(form)
    stream.act(lambda step: step.id, to=endpoint, stage="pass")
    async with bench(made) as b:
        b.topic("in").extend(encoded(*(Step(number, f"k{number}") for number in range(10))))
        await b.until(lambda: len(sink.waiting) == 10)
        assert b.confirmed("in") == 0
        sink.report(sink.waiting[1:5])
        await b.until(lambda: b.engine.lanes[0].in_flight == 6)
        assert b.confirmed("in") == 0
        sink.report(sink.waiting[:1])
        await b.until(lambda: b.confirmed("in") == 5)
        sink.report(sink.waiting[5:])
        await b.until(lambda: b.confirmed("in") == 10)


async def test_a_sink_without_order_holds_the_key_until_it_confirms(form: str) -> None:
    endpoint, sink = scripted(answer=lambda message: "wait", ordered=False)
    made, stream = pipeline(form)
    stream.act(lambda step: step.id, to=endpoint, stage="pass")
    async with bench(made) as b:
        b.topic("in").extend(encoded(Step(1, "a"), Step(2, "a"), Step(3, "b"), Step(4, "a")))
        await b.until(lambda: len(sink.waiting) == 2)
        assert [message.id for message in sink.taken] == ["1/pass", "3/pass"]
        sink.release()
        await b.until(lambda: len(sink.waiting) == 1)
        sink.release()
        await b.until(lambda: len(sink.waiting) == 1)
        sink.release()
        await b.until(lambda: b.confirmed("in") == 4)
        assert [message.id for message in sink.taken] == ["1/pass", "3/pass", "2/pass", "4/pass"]


async def test_a_sink_that_keeps_order_lets_no_key_go_that_another_one_holds(form: str) -> None:
    held, waiting = scripted("http", lambda message: "wait", ordered=False)
    refusing, _ = scripted("kafka", lambda message: Undeliverable("too large"))
    made, stream = pipeline(form)
    stream.act(lambda step: step.id, to=held, stage="hold")
    stream.filter(lambda step: step.id == 1, stage="once").act(lambda step: step.id, to=refusing, stage="refused")
    async with bench(made) as b:
        b.topic("in").extend(encoded(Step(1, "k"), Step(2, "k"), Step(3, "other")))
        await b.until(lambda: b.engine.letters.written == 1 and len(waiting.taken) == 2)
        assert [message.id for message in waiting.taken] == ["1/hold", "3/hold"]
        waiting.release()
        await b.until(lambda: len(waiting.waiting) == 1)
        waiting.release()
        await b.until(lambda: b.confirmed("in") == 3)


async def test_a_key_that_waits_for_long_stops_the_reading(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.pipeline.engine.feed.PARKED", 100)
    made, stream = pipeline(form, retry=Retries(attempts=2, first="1s", longest="1s"))
    failed: list[int] = []

    def once(step: Step) -> int:
        if not failed:
            failed.append(step.id)
            raise ValueError("once")
        return step.id

    stream.act(once, to=Memory("out"))
    clock, site = ManualClock(), Site(Settings({}), pipeline="steps")
    b = Bench(Engine(made.build(), site, MemoryStore(), clock=clock), Topics.of(site), site)
    async with b:
        b.topic("in").extend(encoded(*(Step(number, "k") for number in range(20_000))))
        await b.until(lambda: b.engine.lanes[0].feed.full)
        for _ in range(100):
            await asyncio.sleep(0)
        assert b.engine.lanes[0].feed.parked <= 100 + 1024
        clock.advance(2.0)
        await b.until(lambda: b.confirmed("in") == 20_000)
        assert [msgspec.json.decode(one.value) for one in b.topic("out").entries()] == list(range(20_000))


@pytest.mark.parametrize("slow", ["wave", "slot"])
async def test_an_outage_of_the_store_holds_events_and_goes_on_by_itself(slow: str) -> None:
    down = [True]

    def answers(step: Step) -> int:
        if down[0]:
            raise Unavailable("store", "gone")
        return step.id

    made = Pipeline("outage")
    stream = made.source(Memory("in"), schema=Step, key="key", id="id").enrich(asked=Asking(answers))
    if slow == "slot":
        stream = stream.transform(later)
    stream.act(lambda step, asked: asked, to=Memory("out"), stage="pass")
    async with bench(made) as b:
        b.topic("in").extend(encoded(*(Step(number, f"k{number % 3}") for number in range(1000))))
        await b.until(lambda: "store" in b.engine.outages.down)
        taken = b.engine.lanes[0].received
        down[0] = False
        await b.until(lambda: b.confirmed("in") == 1000)
        assert b.engine.letters.written == 0
        assert taken <= 1024
        assert len(b.topic("out")) == 1000


class BrokenStore(MemoryStore):
    """A store whose log cannot be written for a while."""

    broken = True

    async def append(self, stream: str, entry: Any, *, id: str = "") -> str:
        if self.broken:
            raise Unavailable("store", "gone")
        return await super().append(stream, entry, id=id)


async def test_once_a_dead_letter_is_written_everything_goes_on(form: str) -> None:
    """Nothing else has asked the store, so it is the letter that finds out."""
    made, stream = pipeline(form)
    stream.act(lambda step: step.id, to=Memory("out"), stage="pass")
    store = BrokenStore()
    async with bench(made, store=store) as b:
        b.topic("in").extend([b"{bad"])
        await b.until(lambda: "store" in b.engine.outages.down)
        store.broken = False
        await b.until(lambda: not b.engine.outages.down)
        b.topic("in").extend(encoded(Step(1, "k")))
        await b.until(lambda: b.confirmed("in") == 2)


async def test_a_dead_letter_waits_for_the_store(form: str) -> None:
    made, stream = pipeline(form)
    stream.act(lambda step: step.id, to=Memory("out"), stage="pass")
    store = BrokenStore()
    async with bench(made, store=store) as b:
        b.topic("in").extend([b"{bad", *encoded(Step(1, "k"))])
        await b.until(lambda: "store" in b.engine.outages.down)
        assert b.confirmed("in") == 0
        store.broken = False
        await b.until(lambda: b.confirmed("in") == 2)
        assert b.engine.letters.written == 1


async def test_stopping_finishes_what_was_taken(form: str) -> None:
    made, stream = pipeline(form)
    stream.act(lambda step: step.id, to=Memory("out"), stage="pass")
    b = bench(made)
    async with b:
        b.topic("in").extend(encoded(*(Step(number, f"k{number % 3}") for number in range(700))))
        await b.until(lambda: b.engine.lanes[0].received > 0)
    assert b.confirmed("in") == b.engine.lanes[0].received == len(b.topic("out"))


async def test_no_more_than_concurrency_run_at_once() -> None:
    running, most = [0], [0]

    async def busy(step: Step) -> Step:
        running[0] += 1
        most[0] = max(most[0], running[0])
        await asyncio.sleep(0.001)
        running[0] -= 1
        return step

    made = Pipeline("bounded", concurrency=8)
    made.source(Memory("in"), schema=Step, key="key").transform(busy).end()
    async with bench(made) as b:
        b.topic("in").extend(encoded(*(Step(number, f"k{number}") for number in range(200))))
        await b.until(lambda: b.confirmed("in") == 200)
    assert most[0] == 8


@pytest.mark.parametrize("order", ["partition", "none"])
async def test_other_orders(form: str, order: Any) -> None:
    made, stream = pipeline(form, order=order, retry=Retries(attempts=2, first="1ms", longest="1ms"))
    failed: list[int] = []

    def once(step: Step) -> int:
        if step.id == 0 and not failed:
            failed.append(step.id)
            raise RuntimeError("once")
        return step.id

    stream.act(once, to=Memory("out"))
    async with bench(made) as b:
        b.topic("in").extend(encoded(*(Step(number, f"k{number % 2}") for number in range(20))))
        await b.until(lambda: b.confirmed("in") == 20)
        ids = [msgspec.json.decode(one.value) for one in b.topic("out").entries()]
    assert sorted(ids) == list(range(20))
    assert (ids == list(range(20))) is (order == "partition")


async def test_calls_with_options_in_any_position() -> None:
    made = Pipeline("options")
    asked: list[str] = []

    async def weather(step: Step) -> str:
        asked.append(step.key)
        await asyncio.Event().wait()
        return "never"

    def blocking(step: Step) -> bool:
        return sys.getswitchinterval() > 0 and step.id > 0

    def lists(steps: list[Step]) -> list[Step]:
        if any(step.fate for step in steps):
            raise ValueError("guilty")
        return steps

    stream = made.source(Memory("in"), schema=Step, key="key", id="id").transform(batched(lists))
    stream = stream.enrich(weather=call(weather, timeout="1s", default="fair", cache="1m"))
    stream.filter(call(blocking, thread=True)).act(lambda step, weather: weather, to=Memory("out"), stage="say")
    async with harness(made) as h:
        sending = asyncio.ensure_future(h.send(Step(1, "k")))
        while not asked:
            await asyncio.sleep(0)
        await h.advance("1s")
        assert (await sending).actions == ["fair"]
        bad = asyncio.ensure_future(h.send(Step(2, "k", "x")))
        await asyncio.sleep(0)
        await h.advance("10m")
        outcome = await bad
        assert outcome.dead is None or outcome.dead.reason == "ValueError: guilty"


async def test_the_latency_budget_bounds_waiting_and_not_decisions() -> None:
    made = Pipeline("budget", latency_budget="200ms")

    async def slow(step: Step) -> int:
        await asyncio.Event().wait()
        return 0

    stream = made.source(Memory("in"), schema=Step, key="key").enrich(asked=call(slow, default=-1))
    stream.infer("m@x", lambda step: [1.0], fallback=lambda step: 0.5).act(
        lambda step, asked, prediction: [asked, prediction.value, prediction.fallback], to=Memory("out"), stage="say"
    )

    async def model(row: Any) -> float:
        await asyncio.Event().wait()
        return 1.0

    async with harness(made, models={"m@x": Prediction(0.9)}) as h:
        sending = asyncio.ensure_future(h.send(Step(1, "k")))
        for _ in range(20):
            await asyncio.sleep(0)
        await h.advance("200ms")
        assert (await sending).actions[0] == -1


async def test_decisions_are_recorded_whole(form: str) -> None:
    made, stream = pipeline(form, record=Memory("records"))
    stream = stream.enrich(known=lambda step: {"limit": 5}) if form == "loop" else stream.enrich(known=Asking(len_of))
    stream.act(lambda step, known: Action({"id": step.id}), to=Memory("out"), stage="say")
    async with harness(made) as h:
        assert (await h.send(Step(4, "k"))).finished
        (record,) = h.sent(Memory("records"))
        assert record.id == "4/say.record"
        assert record.data["payload"] == {"id": 4, "key": "k", "fate": ""}
        assert record.data["found"]["known"] == {"limit": 5}
        assert (record.data["stage"], record.data["actions"]) == ("say", [{"id": 4}])


def len_of(step: Step) -> dict[str, int]:
    return {"limit": 5}


async def test_resources_are_opened_once_and_closed() -> None:
    life: list[str] = []

    @asynccontextmanager
    async def client() -> AsyncIterator[str]:
        life.append("open")
        yield "client"
        life.append("closed")

    made = Pipeline("resources")
    made.resource(client=client)

    async def use(step: Step, client: str) -> str:
        return client

    made.source(Memory("in"), schema=Step).act(use, to=Memory("out"))
    async with harness(made) as h:
        assert (await h.send(Step(1, "a"))).actions == ["client"]
        assert (await h.send(Step(2, "b"))).actions == ["client"]
    assert life == ["open", "closed"]


async def test_a_challenger_gets_its_share_of_the_keys_and_a_shadow_is_not_heard() -> None:
    made = Pipeline("models")
    shadowed: list[Any] = []

    def shadow(row: Any) -> float:
        shadowed.append(row)
        raise RuntimeError("nobody hears this")

    stream = made.source(Memory("in"), schema=Step, key="key")
    stream = stream.infer("m@champion", lambda step: [step.id], challenger="m@challenger", share=0.3, shadow="m@shadow")
    stream.act(lambda step, prediction: prediction.version, to=Memory("out"), stage="say")
    async with harness(made, models={"m@champion": 0.1, "m@challenger": 0.2, "m@shadow": shadow}) as h:
        versions = [(await h.send(Step(number, f"k{number}"))).actions[0] for number in range(200)]
        again = [(await h.send(Step(number, f"k{number}"))).actions[0] for number in range(200)]
    assert versions == again
    assert 20 < versions.count("challenger") < 100
    assert len(shadowed) == 400


async def test_many_rows_for_one_event() -> None:
    made = Pipeline("many")

    def rows(step: Step) -> list[list[int]]:
        return [[step.id], [step.id + 1]]

    def say(step: Step, prediction: list[Prediction]) -> list[float]:
        return [one.value for one in prediction]

    made.source(Memory("in"), schema=Step).infer("m@x", rows, many=True).act(
        lambda step, prediction: {"all": say(step, prediction)}, to=Memory("out"), stage="say"
    )
    async with harness(made, models={"m@x": lambda row: row[0]}) as h:
        assert (await h.send(Step(3, "k"))).actions == [{"all": [3.0, 4.0]}]


async def test_an_http_sender_gets_its_reply_or_the_reason() -> None:
    from penstock.connectors import Http, Reply

    made = Pipeline("web", retry=Retries(attempts=1))

    def decide(step: Step) -> dict[str, int]:
        if step.fate == "reject":
            raise Reject("no")
        if step.fate == "fail":
            raise RuntimeError("down")
        return {"id": step.id}

    made.source(Http("/steps"), schema=Step, key="key").act(decide, to=[Reply(), Memory("out")])
    async with harness(made) as h:
        good = await h.send(Step(1, "k"))
        assert (good.reply, good.actions, good.refused) == ({"id": 1}, [{"id": 1}], None)
        bad = await h.send(b'{"id": "x", "key": "k"}')
        assert bad.refused is not None
        assert (bad.refused.status, bad.refused.path, bad.dead) == (422, "$.id", None)
        rejected = await h.send(Step(2, "k", "reject"))
        assert rejected.refused is not None and rejected.dead is not None
        assert (rejected.refused.status, rejected.refused.letter) == (422, rejected.dead.id)
        failed = await h.send(Step(3, "k", "fail"))
        assert failed.refused is not None
        assert (failed.refused.status, failed.dead) == (503, None)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["", "", "", "once", "reject", "late", "bad"])), max_size=60
    ),
    concurrency=st.integers(1, 9),
    form=st.sampled_from(FORMS),
    seed=st.integers(0, 2**16),
)
def test_whatever_comes_everything_has_one_outcome_and_keys_keep_their_order(
    steps: list[tuple[int, str]], concurrency: int, form: str, seed: int
) -> None:
    """In = acted + dead, each once; first actions of a key in order; all confirmed."""
    asyncio.run(_everything_has_one_outcome(steps, concurrency, form, random.Random(seed)))


async def _everything_has_one_outcome(
    steps: list[tuple[int, str]], concurrency: int, form: str, chance: random.Random
) -> None:
    made, stream = pipeline(form, concurrency=concurrency, retry=Retries(attempts=3, first="1ms", longest="2ms"))
    tried: set[int] = set()

    def decide(step: Step) -> int:
        if step.fate == "reject":
            raise Reject("no")
        if step.fate == "once" and step.id not in tried:
            tried.add(step.id)
            raise RuntimeError("once")
        return step.id

    async def maybe(step: Step) -> Step:
        for _ in range(chance.randrange(5)):
            await asyncio.sleep(0)
        return step

    if form == "slot":
        stream = stream.transform(maybe)
    stream.act(decide, to=Memory("out"))
    async with bench(made) as b:
        values = [
            b"{" if fate == "bad" else encoded(Step(number, f"k{key}", fate))[0]
            for number, (key, fate) in enumerate(steps)
        ]
        middle = len(values) // 2
        b.topic("in").extend(values[:middle])
        await asyncio.sleep(0)
        b.topic("in").extend(values[middle:])
        await b.until(lambda: b.confirmed("in") == len(steps))
        acted = [msgspec.json.decode(one.value) for one in b.topic("out").entries()]
        dead = [letter for _, letter in await b.engine.letters.read(count=1000)]
    assert len(acted) == len(set(acted))
    assert len(acted) + len(dead) == len(steps)
    assert {number for number, (_, fate) in enumerate(steps) if fate not in ("reject", "bad")} == set(acted)
    for key in range(4):
        mine = [number for number in acted if steps[number][0] == key]
        assert mine == sorted(mine)
