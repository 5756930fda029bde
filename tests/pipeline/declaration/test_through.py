"""`through`: what is refused, and that an event stays what it was on the other side."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from penstock import Event, Pipeline, Retries, merge
from penstock.connectors import Http, Kafka, Message, Mqtt, Redis, Reply
from penstock.pipeline.declaration.check import check
from penstock.pipeline.drawing import mermaid, tree
from penstock.pipeline.testing.harness import harness
from penstock.stages import state
from tests.pipeline.doubles import Memory, bench, scripted
from tests.pipeline.mistakes import mistake
from tests.pipeline.shop import IN, OUT, Finding, Payment, decide, double, judge, payments, same

MIDDLE = Memory("by-owner", partitions=3)


class Sale(Struct, frozen=True):
    id: str
    card: str
    shop: str
    at: float = 0.0


class Seen(Struct, frozen=True):
    """What a function past the through was told of its event."""

    sale: str
    event: str
    source: str
    key: str
    time: float
    trace: str


class Loose(Struct, frozen=True):
    shop: str | None = None


def loose(sale: Sale) -> Loose:
    return Loose()


def seen(sale: Sale, event: Event) -> Seen:
    return Seen(sale.id, event.id, event.source, event.key, event.time, event.headers.get("traceparent", ""))


def shops(**options: Any) -> tuple[Pipeline, Any]:
    pipeline = Pipeline("shops", **options)
    return pipeline, pipeline.source(Memory("sales"), schema=Sale, key="card", id="id", time="at")


# -- what is declared --------------------------------------------------------------------------------------------------


def test_it_is_an_act_to_the_topic_and_a_source_on_it() -> None:
    pipeline: Any = Pipeline("demo")
    payments(pipeline).through(Kafka("by-shop"), key="id").act(decide, to=OUT)
    _, near, far, _ = pipeline.build()
    assert (near.kind, near.stage, near.to[0].address, near.payload) == (
        "through", "through(by-shop)", "kafka:by-shop", Payment
    )  # fmt: skip
    assert (far.kind, far.stage, far.forward, far.schema, far.key) == ("source", "by-shop", near.id, Payment, "id")
    assert far.endpoints[0].start == "earliest", "what was written before the group's first start is read too"


def test_resources_are_there_past_a_through() -> None:
    pipeline: Any = Pipeline("demo")
    pipeline.resource(client=lambda: None)
    payments(pipeline).through(MIDDLE, key="id").act(lambda payment, client: payment, to=OUT, stage="ask")
    assert list(pipeline.build().node(2).scope) == ["client"]


def test_it_is_drawn_in_line() -> None:
    pipeline, sales = shops()
    sales.through(Kafka("by-shop"), key=("shop", "card")).act(seen, to=Memory("out"))
    graph = check(pipeline)
    assert [line.rstrip() for line in tree(graph).splitlines()[1:]] == [
        "source    memory:sales",
        "│         Sale, key card, id id, time at",
        "through   kafka:by-shop",
        "│         Sale, key shop+card",
        "act       seen(event) ⇒ memory:out",
    ]
    drawn = mermaid(graph)
    assert 'e1(["kafka:by-shop"])' in drawn
    assert "e1 --> n2" in drawn
    assert "n1 --> e1" in drawn


@mistake(
    "mqtt:shops does not keep events in order by key: a through takes Kafka('...') or Redis('...')",
)
def test_through_mqtt(p: Any) -> None:
    payments(p).through(Mqtt("shops"), key="id").act(decide, to=OUT)  # <>


@mistake("https://shops does not keep events in order by key: a through takes Kafka('...') or Redis('...')")
def test_through_http(p: Any) -> None:
    payments(p).through(Http("https://shops"), key="id").act(decide, to=OUT)  # <>


@mistake("'shops' is no endpoint: write for example Kafka('shops')")
def test_through_a_name(p: Any) -> None:
    payments(p).through("shops", key="id").act(decide, to=OUT)  # <>


@mistake("kafka:shops.{region}: a through has one topic, so its name has no braces")
def test_through_many_topics(p: Any) -> None:
    payments(p).through(Kafka("shops.{region}"), key="id").act(decide, to=OUT)  # <>


@mistake("key= is None: a through is there to put events in order by another key")
def test_through_without_a_key(p: Any) -> None:
    payments(p).through(Kafka("shops"), key=None).act(decide, to=OUT)  # <>


@mistake("key= Payment has no field 'shop'; it has amount, at, card, id, owner")
def test_through_under_a_key_that_is_not_there(p: Any) -> None:
    payments(p).through(Kafka("shops"), key="shop").act(decide, to=OUT)  # <>


@mistake(
    "the type of what goes through kafka:shops is not known, so it could not be read again: "
    "annotate what the stage before returns"
)
def test_through_of_something(p: Any) -> None:
    stream = payments(p).transform(lambda payment: payment, stage="any")
    stream.through(Kafka("shops"), key=id).act(decide, to=OUT)  # <>


class Plain:
    """What JSON cannot become."""


def plain(payment: Payment) -> Plain:
    return Plain()


@mistake(
    "Plain goes through kafka:shops as JSON: Plain is a plain class: make it a msgspec Struct or a dataclass, "
    "or say how bytes become one with decode="
)
def test_through_of_what_cannot_be_read_again(p: Any) -> None:
    payments(p).transform(plain).through(Kafka("shops"), key=id).end()  # <>


@mistake(
    "kafka:payments is a source of this pipeline, at <first>, so events would go round in it: "
    "a through has a topic of its own"
)
def test_through_the_topic_that_events_come_from(p: Any) -> None:
    stream = p.source(Kafka("payments"), schema=Payment)  # <first>
    stream.through(Kafka("payments"), key="id").act(decide, to=OUT)  # <>


@mistake(
    "kafka:shops is the topic of the through at <first> already: give this one a topic of its own, "
    "or merge both streams before one through"
)
def test_two_throughs_on_one_topic(p: Any) -> None:
    stream = payments(p)
    stream.through(Kafka("shops"), key="id", stage="one").end()  # <first>
    stream.transform(double).through(Kafka("shops"), key="card", stage="two").end()  # <>


@mistake("kafka:shops is the topic of the through at <first>: use its stream instead")
def test_a_source_on_the_topic_of_a_through(p: Any) -> None:
    payments(p).through(Kafka("shops"), key="id").end()  # <first>
    p.source(Kafka("shops"), schema=Payment, stage="again").end()  # <>


@mistake(
    "'decide' acts to kafka:shops, the topic of the through at <first>: "
    "nothing else writes there, so name another topic"
)
def test_an_act_to_the_topic_of_a_through(p: Any) -> None:
    payments(p).through(Kafka("shops"), key="id").end()  # <first>
    payments_again = p.source(Kafka("more"), schema=Payment)
    payments_again.act(decide, to=[OUT, Kafka("shops")])  # <>


@mistake(
    "'decide' acts to Reply(), but no Http source leads to it, so nobody waits for the answer: "
    "past the through at <first> the request is over"
)
def test_a_reply_past_a_through(p: Any) -> None:
    stream = p.source(Http("/payments"), schema=Payment)
    far = stream.through(Kafka("shops"), key="id")  # <first>
    far.act(decide, to=Reply())  # <>


@mistake(
    "judge() asks for 'profile', which nothing before it adds: it was added at <first>, "
    "and names end at the through at <second>: add it again after it"
)
def test_names_end_at_a_through(p: Any) -> None:
    known = payments(p).enrich(profile=Finding())  # <first>
    far = known.through(Kafka("shops"), key="id")  # <second>
    far.transform(double).act(judge, to=OUT)  # <>


@mistake(
    "the stream of the through 'shops' leads nowhere: add .act(..., to=...), "
    "or .end() if it is kept for what its stages do"
)
def test_a_through_leads_somewhere(p: Any) -> None:
    payments(p).through(Kafka("shops"), key="id")  # <>


def test_a_redis_stream_and_two_connections_are_topics_of_their_own() -> None:
    pipeline: Any = Pipeline("demo")
    stream = payments(pipeline)
    stream.through(Redis("shops", partitions=2), key="id").end()
    stream.transform(same).through(Redis("shops", on="eu"), key="id", stage="eu").end()
    assert [node.stage for node in pipeline.build().sources] == ["payments", "shops", "eu"]


# -- what is done ------------------------------------------------------------------------------------------------------


async def test_an_event_stays_what_it_was() -> None:
    pipeline, sales = shops()
    sales.through(Memory("by-shop"), key="shop").act(seen, to=Memory("out"))
    async with harness(pipeline) as h:
        sale = Sale("s1", "c1", "baker", 1_700_000_000.25)
        outcome = await h.send(sale, key="c1", id="e1", headers={"traceparent": "00-ab-cd-01"})
        assert outcome.actions == [
            {"sale": "s1", "event": "s1", "source": "/sales", "key": "baker", "time": 1_700_000_000.25,
             "trace": "00-ab-cd-01"}
        ]  # fmt: skip
        assert [one.id for one in outcome.sent] == ["s1/seen"], "the same id as without the through"
        [gone] = h.sent(Memory("by-shop"))
        assert (gone.data["id"], gone.key, gone.id) == ("s1", "baker", "s1/through(by-shop)")


async def test_a_message_that_comes_twice_makes_the_same_actions() -> None:
    pipeline, sales = shops()
    sales.through(MIDDLE, key="shop").act(seen, to=Memory("out"))
    async with bench(pipeline) as b:
        b.topic("sales").extend([msgspec.json.encode(Sale("s1", "c1", "baker"))])
        await b.until(lambda: b.confirmed("by-owner") == 1)
        [sent] = b.topic("by-owner").entries()
        b.topic("by-owner").put(sent.value, key=sent.key, headers=dict(sent.headers))
        await b.until(lambda: b.confirmed("by-owner") == 2)
        first, second = b.topic("out").entries()
        assert first.headers["ce_id"] == second.headers["ce_id"] == "s1/seen"


@mistake(
    "http:/sales may bring an event twice, and nothing tells a repeat from a new event, so that 'count' would count it "
    "twice: name the field that does, id='...', or say that every arrival counts, repeats='counted'"
)
def test_repeats_are_told_apart_before_a_through_where_state_is_after_it(p: Any) -> None:
    sales = p.source(Http("/sales"), schema=Sale)  # <>
    sales.through(MIDDLE, key="shop").enrich(count=state(int, by="shop", update=counted)).end()


def counted(so_far: int | None, sale: Sale) -> int:
    return (so_far or 0) + 1


async def test_state_past_a_through_counts_an_event_once_however_often_the_topic_brings_it() -> None:
    pipeline, sales = shops()
    far = sales.through(MIDDLE, key="shop").enrich(count=state(int, by="shop", update=counted))
    far.act(lambda sale, count: (sale.id, count), to=Memory("out"), stage="tell")
    async with bench(pipeline) as b:
        b.topic("sales").extend([msgspec.json.encode(Sale(f"s{n}", "c1", "baker")) for n in (1, 2)])
        await b.until(lambda: b.confirmed("by-owner") == 2)
        for sent in b.topic("by-owner").entries():
            b.topic("by-owner").put(sent.value, key=sent.key, headers=dict(sent.headers))
        b.topic("by-owner").put(msgspec.json.encode(Sale("s3", "c1", "baker")), key=b"baker")
        await b.until(lambda: b.confirmed("by-owner") == 5)
        counts = {entry.headers["ce_id"]: set[int]() for entry in b.topic("out").entries()}
        for entry in b.topic("out").entries():
            counts[entry.headers["ce_id"]].add(msgspec.json.decode(entry.value)[1])
        assert sorted(map(tuple, counts.values())) == [(1,), (2,), (3,)]


async def test_the_children_of_an_event_are_told_apart() -> None:
    def parts(sale: Sale) -> Iterator[Sale]:
        yield Sale(sale.id, sale.card, "baker")
        yield Sale(sale.id, sale.card, "baker")

    pipeline, sales = shops()
    near = sales.transform(parts)
    merge(near, near.transform(lambda sale: sale, stage="again").of(Sale)).through(MIDDLE, key="shop").through(
        Memory("far"), key="card"
    ).act(seen, to=Memory("out"))
    async with harness(pipeline) as h:
        outcome = await h.send(Sale("s1", "c1", "butcher"))
        assert outcome.finished
        ids = sorted(one.id for one in outcome.sent)
        assert ids == [f"s1/through(by-owner).{a}.{b}/seen" for a in (0, 1) for b in (0, 1)]


async def test_payloads_of_every_kind_are_read_as_they_were_written() -> None:
    def as_bytes(sale: Sale) -> bytes:
        return b"\xff" + sale.id.encode()

    def same_bytes(payload: bytes) -> str:
        return payload.hex()

    pipeline, sales = shops()
    sales.transform(as_bytes).through(MIDDLE, key=len).act(same_bytes, to=Memory("out"))
    async with harness(pipeline) as h:
        assert (await h.send(Sale("s1", "c1", "butcher"))).actions == ["ff7331"]


async def test_a_tombstone_goes_through() -> None:
    pipeline = Pipeline("demo")
    stream = pipeline.source(Memory("in"), schema=Sale | None)
    stream.through(MIDDLE, key=lambda sale: "x").act(lambda sale: sale is None, to=Memory("out"), stage="gone")
    async with harness(pipeline) as h:
        assert (await h.send(None)).actions == [True]


async def test_an_event_without_its_new_key_is_kept() -> None:
    pipeline, sales = shops()
    sales.transform(loose).through(MIDDLE, key="shop").end()
    async with harness(pipeline) as h:
        outcome = await h.send(Sale("s1", "c1", "butcher"))
        assert outcome.dead is not None
        assert outcome.dead.reason == "through(by-owner) has no key for this event: it is null"


async def test_what_fails_past_a_through_is_kept_under_the_origins_identity() -> None:
    def fails(sale: Sale) -> Sale:
        raise ValueError("no")

    pipeline, sales = shops(retry=Retries(attempts=2, first="1s", longest="1s"))
    sales.through(MIDDLE, key="shop").transform(fails).end()
    async with harness(pipeline) as h:
        assert not (await h.send(Sale("s1", "c1", "butcher"))).finished
        await h.advance("1m")
        [letter] = h.dead
        assert (letter.event, letter.stage, letter.key) == ("s1", "fails", "butcher")


async def test_what_others_write_to_the_topic_has_an_identity_of_its_own() -> None:
    pipeline, sales = shops()
    sales.through(MIDDLE, key="shop").act(seen, to=Memory("out"))
    async with harness(pipeline) as h:
        outcome = await h.send(Sale("s1", "c1", "baker"), to=MIDDLE)
        assert [one.id for one in outcome.sent] == ["by-owner/1/seen"]


async def test_events_of_one_key_are_in_order_past_a_through_whatever_fails_before_it() -> None:
    """Sales of one card are tried again and again, other cards overtake; past the through each shop has one order."""
    tried: dict[str, int] = defaultdict(int)

    def stumbles(sale: Sale) -> Sale:
        tried[sale.id] += 1
        if int(sale.id) % 7 == 0 and tried[sale.id] < 3:
            raise ValueError("not yet")
        return sale

    running: set[str] = set()

    async def one_at_a_time(sale: Sale) -> Sale:
        assert sale.shop not in running
        running.add(sale.shop)
        await asyncio.sleep(0)
        running.discard(sale.shop)
        return sale

    pipeline, sales = shops(retry=Retries(attempts=5, first="1ms", longest="2ms"))
    sales.transform(stumbles).through(MIDDLE, key="shop").transform(one_at_a_time).act(
        lambda sale: sale.id, to=Memory("out"), stage="pass"
    )
    chance = random.Random(7)
    sold = [Sale(str(n), f"c{chance.randrange(9)}", f"s{chance.randrange(4)}") for n in range(600)]
    async with bench(pipeline) as b:
        b.topic("sales").extend([msgspec.json.encode(sale) for sale in sold])
        await b.until(lambda: b.confirmed("by-owner") == 600)
        passed = [msgspec.json.decode(one.value) for one in b.topic("out").entries()]
        middle = [msgspec.json.decode(entry.value, type=Sale) for entry in b.topic("by-owner").entries()]
    assert sorted(passed, key=int) == [sale.id for sale in sold]
    shop = {sale.id: sale.shop for sale in sold}
    card = {sale.id: sale.card for sale in sold}
    for name in set(shop.values()):
        order = [sale.id for sale in middle if sale.shop == name]
        assert [one for one in passed if shop[one] == name] == order
        for one in set(card.values()):
            of_both = [int(number) for number in order if card[number] == one]
            assert of_both == sorted(of_both), "what had one key before keeps its order"


@pytest.mark.parametrize("ordered", [True, False])
async def test_an_event_is_finished_when_the_topic_has_it(ordered: bool) -> None:
    waits: Callable[[Message], str] = lambda message: "wait"  # noqa: E731
    pipeline, sales = shops()
    _, sink = scripted(answer=waits, ordered=ordered)
    sales.through(MIDDLE, key="shop").end()
    async with bench(pipeline) as b:
        b.engine.outboxes["memory:by-owner"].sink = sink
        await sink.open(b.engine.outboxes["memory:by-owner"].settled)
        b.topic("sales").extend([msgspec.json.encode(Sale("s1", "c1", "baker"))])
        await b.until(lambda: len(sink.waiting) == 1)
        assert b.confirmed("sales") == 0
        sink.release()
        await b.until(lambda: b.confirmed("sales") == 1)


def test_stages_before_and_after_are_checked_as_ever() -> None:
    pipeline: Any = Pipeline("demo")
    pipeline.source(IN, schema=Payment).through(MIDDLE, key="id").act(decide, to=OUT)
    assert len(pipeline.build().acts) == 2
