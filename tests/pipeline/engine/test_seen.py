"""`seen` and `dedupe=`: what was finished before is known again, what was only begun is not lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
import pytest

from penstock import Event, Pipeline, Retries, Retry, Stream, Unavailable, call
from penstock.connectors import Http, Kafka, Settings, Site
from penstock.connectors.store.memory import MemoryStore
from penstock.connectors.topics import Topics
from penstock.pipeline.drawing import tree
from penstock.pipeline.engine.engine import Engine
from penstock.pipeline.letters.again import LetterBatch
from penstock.pipeline.testing.harness import harness
from penstock.stages import seen
from penstock.stages.seen import CLAIMED
from tests.pipeline.doubles import Bench, Memory, bench, scripted
from tests.pipeline.mistakes import mistake
from tests.pipeline.shop import Payment, decide
from tests.pipeline.steps import Step, encoded, later, same


def new(step: Step, again: bool) -> bool:
    return not again


def pipeline(form: str, *, at: Any = None, **options: Any) -> tuple[Pipeline, Stream[Step]]:
    """A pipeline of steps of which those are new that nobody has seen by their `id`."""
    made = Pipeline("steps", **options)
    stream = made.source(at or Memory("in"), schema=Step, key="key")
    stream = stream.transform(later) if form == "slot" else stream.transform(same)
    return made, stream.enrich(again=seen("id", within="1h")).filter(new)


@pytest.fixture(params=["wave", "slot"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def told(b: Bench) -> list[Any]:
    return [msgspec.json.decode(one.value) for one in b.topic("out").entries()]


async def test_what_was_finished_is_seen_until_its_time_is_over(form: str) -> None:
    made, stream = pipeline(form)
    stream.act(lambda step: step.id, to=Memory("out"), stage="pass")
    async with harness(made) as h:
        assert h.engine.lanes[0].program.form == form
        assert (await h.send(Step(7, "a"))).actions == [7]
        assert (await h.send(Step(7, "b"))).actions == []
        assert (await h.send(Step(8, "a"))).actions == [8]
        assert h.engine.statistics()["filtered"] == {"new": 1}
        await h.advance("59m")
        assert (await h.send(Step(7, "b"))).actions == []
        await h.advance("2m")
        assert (await h.send(Step(7, "b"))).actions == [7]


async def test_a_source_drops_what_it_brought_before() -> None:
    made = Pipeline("steps")
    steps = made.source(Kafka("in", dedupe="1h"), schema=Step, key="key", id="id")
    steps.act(lambda step, event: event.id, to=Memory("out"), stage="pass")
    assert tree(made.build()).splitlines()[3].split() == ["dedupe", "within", "3600", "s"]
    async with harness(made) as h:
        assert (await h.send(Step(7, "a"))).actions == ["7"]
        assert (await h.send(Step(7, "b"))).actions == []
        assert h.engine.statistics()["filtered"] == {"dedupe(in)": 1}


async def test_without_a_declared_id_it_is_the_cloud_events() -> None:
    def name(step: Step, event: Event) -> str:
        return event.id

    made = Pipeline("steps")
    made.source(Kafka("in", dedupe="1h"), schema=Step).act(name, to=Memory("out"))
    async with harness(made) as h:
        assert (await h.send(Step(7, "a"), id="e1")).actions == ["e1"]
        assert (await h.send(Step(7, "a"), id="e2")).actions == ["e2"]
        assert (await h.send(Step(8, "a"), id="e1")).actions == []
        assert (await h.send(Step(7, "a"))).actions == ["in/4"]
        assert (await h.send(Step(7, "a"))).actions == ["in/5"], "what says nothing of itself is something new"


async def test_an_event_waits_for_the_one_that_claims_what_it_says(form: str) -> None:
    gate = asyncio.Event()
    entered: list[str] = []

    async def slow(step: Step) -> Step:
        entered.append(step.key)
        await gate.wait()
        return step

    made, stream = pipeline(form)
    stream.transform(slow).act(lambda step: step.key, to=Memory("out"), stage="pass")
    async with bench(made) as b:
        b.topic("in").extend(encoded(Step(7, "a")))
        await b.until(lambda: entered == ["a"])
        b.topic("in").extend(encoded(Step(7, "b"), Step(8, "c"), Step(9, "b")))
        await b.until(lambda: entered == ["a", "c"])
        await b.until(lambda: b.engine.lanes[0].trouble.flights == 1)
        assert not b.engine.lanes[0].trouble.failures
        gate.set()
        await b.until(lambda: b.confirmed("in") == 4)
        assert sorted(told(b)) == ["a", "b", "c"]
        assert b.engine.statistics()["filtered"] == {"new": 1}
        assert b.engine.letters.written == 0


@pytest.mark.parametrize("done", [False, True])
async def test_no_crash_loses_an_event_between_its_claim_and_its_end(done: bool) -> None:
    """The first process claims and ends, before or after it was done; the next one reads the same records."""
    store = MemoryStore()
    topics = Topics()
    topics.topic("in").extend(encoded(Step(7, "a"), Step(7, "b"), Step(8, "b")))

    async def life(answer: str | None, *, confirms: bool) -> list[bytes]:
        endpoint, sink = scripted(answer=lambda message: answer)
        made, stream = pipeline("wave")
        stream.act(lambda step: f"{step.id}{step.key}", to=endpoint, stage="pass")
        site = Site(Settings({}), pipeline="steps")
        site.share("memory", lambda: topics)
        b = Bench(Engine(made.build(), site, store), topics, site)
        await b.engine.start()
        await b.until(lambda: b.confirmed("in") == 3 if confirms else len(sink.taken) >= 1)
        await b.engine.stop(grace=5.0 if confirms else 0.01)
        return [one.value or b"" for one in sink.taken]

    first = await life(None if done else "wait", confirms=done)
    assert first[0] == b'"7a"'
    if done:  # the commit was lost with the process
        topics.topic("in").position("steps")[:] = [0]
    async with asyncio.timeout(60):
        second = await life(None, confirms=True)
    assert second == [b'"7a"', b'"8b"'], "the same position goes on, the other one is dropped"


async def test_a_claim_whose_process_is_gone_ends_after_a_minute() -> None:
    made, stream = pipeline("wave")
    stream.act(lambda step: step.id, to=Memory("out"), stage="pass")
    async with harness(made) as h:
        await h.store.write("penstock:steps:seen:enrich(again):7", CLAIMED + b"other/0/1\0", ttl=60.0)
        assert not (await h.send(Step(7, "a"))).finished
        await h.advance("58s")
        assert h.sent(Memory("out")) == []
        await h.advance("3s")
        assert [one.data for one in h.sent(Memory("out"))] == [7]


async def test_a_claim_stands_for_as_long_as_its_event_runs() -> None:
    tries: list[str] = []

    def stumbles(step: Step) -> Step:
        tries.append(step.key)
        if tries.count("a") < 3:
            raise Retry("50s")
        return step

    made, stream = pipeline("wave", retry=Retries(attempts=9))
    stream.transform(stumbles).act(lambda step: step.key, to=Memory("out"), stage="pass")
    async with harness(made) as h:
        assert not (await h.send(Step(7, "a"))).finished
        assert not (await h.send(Step(7, "b"))).finished
        await h.advance("99s")
        assert tries == ["a", "a"]
        await h.advance("10s")
        assert [one.data for one in h.sent(Memory("out"))] == ["a"]
        assert "b" not in tries


async def test_children_of_one_event_do_not_wait_for_each_other() -> None:
    def parts(step: Step) -> Iterator[Step]:
        yield Step(step.id, "first")
        yield Step(step.id, "second")

    made = Pipeline("steps")
    stream = made.source(Memory("in"), schema=Step).transform(parts)
    stream.enrich(again=seen("id", within="1h")).act(lambda step, again: [again], to=Memory("out"), stage="pass")
    async with harness(made) as h:
        assert (await h.send(Step(7, "a"))).actions == [False, True]
        assert (await h.send(Step(7, "a"))).actions == [True, True]


async def test_an_outage_of_the_store_loses_nothing_and_is_over() -> None:
    class Moody(MemoryStore):
        away = ""

        async def settle_many(self, wanted: Any) -> Any:
            if self.away == "all":
                raise Unavailable("store", "away")
            return await super().settle_many(wanted)

        async def write_many(self, wanted: Any) -> None:
            if self.away:
                raise Unavailable("store", "away")
            await super().write_many(wanted)

    store = Moody()
    made, stream = pipeline("wave")
    stream.act(lambda step: step.id, to=Memory("out"), stage="pass")
    async with bench(made, store=store) as b:
        store.away = "writes"
        b.topic("in").extend(encoded(Step(7, "a")))
        await b.until(lambda: b.confirmed("in") == 1)
        store.away = "all"
        b.topic("in").extend(encoded(Step(7, "b")))
        await b.until(lambda: "store" in b.engine.outages.down)
        store.away = ""
        await b.until(lambda: b.confirmed("in") == 2)
        assert told(b) == [7]


async def test_a_sender_that_is_told_to_come_again_does_not_find_its_own_claim() -> None:
    tries: list[int] = []

    def fails_once(step: Step) -> Step:
        tries.append(step.id)
        if len(tries) == 1:
            raise ValueError("not now")
        return step

    made, stream = pipeline("wave", at=Http("/steps"), retry=Retries(attempts=1))
    stream.transform(fails_once).act(lambda step: step.id, to=Memory("out"), stage="pass")
    async with harness(made) as h:
        refused = (await h.send(Step(7, "a"))).refused
        assert refused is not None
        assert refused.status == 503
        assert (await h.send(Step(7, "a"))).actions == [7]
        assert (await h.send(Step(7, "a"))).actions == []


async def test_a_dead_letter_is_done() -> None:
    def fails(step: Step) -> Step:
        raise ValueError("never")

    made, stream = pipeline("wave", retry=Retries(attempts=1))
    stream.transform(fails).end()
    async with harness(made) as h:
        assert (await h.send(Step(7, "a"))).dead is not None
        outcome = await h.send(Step(7, "a"))
        assert outcome.dead is None
        assert outcome.finished


def _finished(batch: LetterBatch) -> bool:
    return batch.left == 0


async def test_a_replayed_letter_is_told_what_it_was_told_before() -> None:
    tries: list[bool] = []

    def fails_once(step: Step, again: bool) -> Step:
        tries.append(again)
        if len(tries) < 3:
            raise ValueError("not now")
        return step

    made = Pipeline("steps", retry=Retries(attempts=1))
    stream = made.source(Kafka("in", dedupe="1h"), schema=Step, id="id")
    stream.enrich(again=seen("key", within="1h")).transform(fails_once).act(
        lambda step: step.id, to=Memory("out"), stage="pass"
    )
    async with harness(made) as h:
        for number in (1, 2):
            assert (await h.send(Step(number, "a"))).dead is not None
        for letter, told in zip(h.dead, (False, True), strict=True):
            assert letter.event == ("2" if told else "1")
            batch = LetterBatch(letter)
            h._stands["kafka:in"].inlet.put(batch)
            await h._until(partial(_finished, batch))
        assert tries == [False, True, False, True]
        assert [one.data for one in h.sent(Memory("out"))] == [1, 2]


async def test_what_is_compared_must_be_there() -> None:
    class Loose(msgspec.Struct, frozen=True):
        fate: str | None = None

    made = Pipeline("steps")
    stream = made.source(Memory("in"), schema=Loose)
    stream.enrich(again=seen("fate", within="1h")).end()
    async with harness(made) as h:
        dead = (await h.send(Loose())).dead
        assert dead is not None
        assert "is null" in dead.reason


@mistake("kafka:a has dedupe='1h' and kafka:b has None: events of one source are compared with each other, so say the "
         "same for all, or make two sources and merge them")  # fmt: skip
def test_endpoints_of_one_source_dedupe_alike(p: Any) -> None:
    p.source(Kafka("a", dedupe="1h"), Kafka("b"), schema=Payment).act(decide, to=Memory("out"))  # <>


@mistake("dedupe: '0s' is no time at all: leave it out, or write for example '250ms'")
def test_dedupe_is_a_time(p: Any) -> None:
    p.source(Kafka("a", dedupe="0s"), schema=Payment).act(decide, to=Memory("out"))  # <>


@mistake("again= Payment has no field 'shop'; it has amount, at, card, id, owner")
def test_seen_compares_a_field_that_is_there(p: Any) -> None:
    p.source(Kafka("a"), schema=Payment).enrich(again=seen("shop", within="1h")).end()  # <>


def test_a_function_with_options_stands_beside_it() -> None:
    made = Pipeline("steps")
    stream = made.source(Memory("in"), schema=Step)
    stream.enrich(again=seen("id", within="1h"), other=call(lambda step: 1, cache="1m")).filter(new).end()
    assert made.build().node(1).scope["again"] is bool
