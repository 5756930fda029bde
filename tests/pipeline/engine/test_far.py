"""`through` at work: an event stays what it was on the other side."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Iterator

import msgspec
import pytest
from msgspec import Struct

from penstock import Pipeline, Retries, merge
from penstock.connectors import Message
from penstock.pipeline.testing.harness import harness
from penstock.stages import state
from tests.pipeline.doubles import Memory, bench, scripted
from tests.pipeline.sales import MIDDLE, Sale, counted, seen, shops


class Loose(Struct, frozen=True):
    shop: str | None = None


def loose(sale: Sale) -> Loose:
    return Loose()


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
