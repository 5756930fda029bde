"""`act(..., once=True)`: what is decided first is what is sent, however often the event comes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from penstock import Action, Pipeline, Unavailable, Undeliverable
from penstock.connectors import Reply, Settings, Site
from penstock.connectors.store.memory import MemoryStore
from penstock.connectors.topics import Topics
from penstock.pipeline.engine.engine import Engine
from penstock.pipeline.testing.harness import harness
from tests.pipeline.doubles import Bench, Memory, bench, scripted
from tests.pipeline.mistakes import mistake
from tests.pipeline.shop import decide, payments
from tests.pipeline.steps import Step, encoded, pipeline


class Deciding:
    """Decides otherwise every time it is asked."""

    def __init__(self) -> None:
        self.numbers = itertools.count(1)

    def one(self, step: Step) -> Action[int]:
        number = next(self.numbers)
        return Action(
            number, key=f"key-{number}", headers={"try": str(number)}, type=f"t{number}", subject=f"s{number}"
        )

    def some(self, step: Step) -> list[int]:
        number = next(self.numbers)
        return [number] * min(number, 2)


def told(entry: Any) -> tuple[Any, ...]:
    headers = dict(entry.headers)
    return (msgspec.json.decode(entry.value), entry.key, headers["ce_id"], headers["ce_type"], headers.get("try"))


async def test_a_repeat_is_sent_as_it_was_decided_first(form: str) -> None:
    made, stream = pipeline(form)
    stream.act(Deciding().one, to=[Memory("out"), Memory("copy")], once=True)
    async with harness(made) as h:
        for _ in range(3):
            assert (await h.send(Step(7, "k"))).actions == [1, 1]
        sent = h.sent(Memory("out"))
        assert len(sent) == 3
        assert len({(one.data, one.key, one.id, one.type, tuple(one.headers.items())) for one in sent}) == 1
        assert (sent[0].data, sent[0].key, sent[0].id, sent[0].type) == (1, "key-1", "7/one", "t1")
        assert (await h.send(Step(8, "k"))).actions == [4, 4], "another event is another decision"
        assert h.engine.statistics()["repeated"] == {"memory:out": 2, "memory:copy": 2}


async def test_each_element_of_a_list_is_kept() -> None:
    made, stream = pipeline("loop")
    stream.act(Deciding().some, to=Memory("out"), once=True)
    async with harness(made) as h:
        assert (await h.send(Step(7, "k"))).actions == [1]
        assert (await h.send(Step(7, "k"))).actions == [1, 2], "what is new is kept as it is decided now"
        assert (await h.send(Step(7, "k"))).actions == [1, 2]


async def test_it_is_forgotten_after_its_horizon() -> None:
    made, stream = pipeline("loop")
    stream.act(Deciding().one, to=Memory("out"), once="2h")
    async with harness(made) as h:
        assert (await h.send(Step(7, "k"))).actions == [1]
        await h.advance("119m")
        assert (await h.send(Step(7, "k"))).actions == [1]
        await h.advance("2m")
        assert (await h.send(Step(7, "k"))).actions == [3]


@pytest.mark.parametrize("ordered", [True, False])
async def test_what_was_kept_and_not_confirmed_is_sent_by_the_next_process(ordered: bool) -> None:
    """The first process ends after it has sent and before anybody has confirmed; the next one decides otherwise."""
    store, topics, deciding = MemoryStore(), Topics(), Deciding()
    topics.topic("in").extend(encoded(*(Step(number, f"k{number % 3}") for number in range(9))))

    async def life(answer: str | None, taken: int, confirmed: int) -> list[tuple[Any, ...]]:
        endpoint, sink = scripted(answer=lambda message: answer, ordered=ordered)
        made, stream = pipeline("loop")
        stream.act(deciding.one, to=endpoint, once=True)
        site = Site(Settings({}), pipeline="steps")
        site.share("memory", lambda: topics)
        b = Bench(Engine(made.build(), site, store), topics, site)
        await b.engine.start()
        await b.until(lambda: len(sink.taken) == taken and b.confirmed("in") == confirmed)
        await b.engine.stop(grace=0.01 if answer else 5.0)
        return [(one.id, one.value, one.key, one.headers, one.type, one.time) for one in sink.taken]

    first, second = await life("wait", 9 if ordered else 3, 0), await life(None, 9, 9)
    known = {one[0]: one for one in second}
    assert len(known) == 9
    assert [known[one[0]] for one in first] == first


class Moody(MemoryStore):
    """A store that is away for as long as the test says, and counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.asked: list[int] = []

    async def settle_many(self, wanted: Sequence[tuple[str, bytes, float]]) -> list[bytes | None]:
        if self.away:
            raise Unavailable("store", "away")
        self.asked.append(len(wanted))
        return await super().settle_many(wanted)


async def test_nothing_is_sent_while_the_store_is_away_and_the_order_is_kept(form: str) -> None:
    made, stream = pipeline(form)
    stream.act(lambda step: step.id, to=Memory("out"), once=True, stage="kept")
    stream.act(lambda step: step.id, to=Memory("out"), stage="plain")
    store = Moody()
    store.away = True
    async with bench(made, store=store) as b:
        b.topic("in").extend(encoded(*(Step(number, f"k{number % 5}") for number in range(100))))
        await b.until(lambda: "store" in b.engine.outages.down)
        assert len(b.topic("out")) == 0
        store.away = False
        await b.until(lambda: b.confirmed("in") == 100)
        assert not b.engine.outages.down
        found = [(msgspec.json.decode(one.value), one.headers["ce_type"]) for one in b.topic("out").entries()]
    assert len(found) == 200
    for key in range(5):
        for kind in ("steps.kept", "steps.plain"):
            numbers = [number for number, stage in found if number % 5 == key and stage == kind]
            assert numbers == sorted(numbers)
    assert max(store.asked) > 1, "one question for many"


async def test_what_is_not_declared_asks_nothing() -> None:
    made, stream = pipeline("loop")
    stream.act(lambda step: step.id, to=Memory("out"), stage="plain")
    stream.act(lambda step: step.id, to=Memory("kept"), once=True, stage="kept")
    store = Moody()
    async with bench(made, store=store) as b:
        assert type(b.engine.outboxes["memory:out"]).__name__ == "Outbox"
        b.topic("in").extend(encoded(Step(1, "k")))
        await b.until(lambda: b.confirmed("in") == 1)
    assert store.asked == [1]


async def test_what_the_store_cannot_keep_is_a_dead_letter_of_its_own() -> None:
    made, stream = pipeline("loop")
    stream.act(Deciding().one, to=Memory("out"), once=True)
    async with harness(made, store={"penstock:steps:once:memory:out:7/one": {"some": "hash"}}) as h:
        outcome = await h.send(Step(7, "k"))
        assert outcome.actions == []
        assert outcome.dead is not None
        assert "cannot be kept: WRONGTYPE" in outcome.dead.reason
        assert (await h.send(Step(8, "k"))).actions == [2]


async def test_a_sink_that_refuses_is_told_of_as_ever() -> None:
    endpoint, _ = scripted(answer=lambda message: Undeliverable("no"))
    made, stream = pipeline("loop")
    stream.act(Deciding().one, to=endpoint, once=True)
    async with bench(made) as b:
        b.topic("in").extend(encoded(Step(1, "k")))
        await b.until(lambda: b.confirmed("in") == 1)
        assert b.engine.letters.written == 1


@mistake("once= keeps what is sent; a Reply() answers whoever asks, so leave it out")
def test_a_reply_is_not_kept(p: Any) -> None:
    payments(p).act(decide, to=Reply(), once=True)  # <>


@mistake('once: \'often\' is not a length of time: write for example "250ms", "10s", "5m", "24h", "7d"')
def test_a_horizon_is_a_time(p: Any) -> None:
    payments(p).act(decide, to=Memory("out"), once="often")  # <>


def test_past_a_through_it_is_the_origins_action() -> None:
    made = Pipeline("steps")
    stream = made.source(Memory("in"), schema=Step, key="key", id="id")
    stream.through(Memory("far"), key="id").act(Deciding().one, to=Memory("out"), once="1h")
    assert [act.once for act in made.build().acts] == [None, 3600.0]
