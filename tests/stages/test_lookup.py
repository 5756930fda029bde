"""What the store knows, typed: forms, defaults, refusals, sharing, caching, outages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, assert_type

import pytest
from msgspec import Struct

from penstock.connectors import Settings, Site, Store
from penstock.connectors.store.memory import MemoryStore
from penstock.connectors.store.redis import RedisStore
from penstock.errors import DeclarationError, Unavailable
from penstock.stages.helper import Failure, Helper
from penstock.stages.lookup import Lookup, lookup
from penstock.stages.outcome import Reject
from tests.servers import Redis


class Card(Struct, frozen=True):
    mean: float
    holder: str = "nobody"


class Owner(Struct):
    id: str | None = None


class Payment(Struct):
    card: str = "1"
    owner: Owner | None = None
    number: int = 0


class Counting(MemoryStore):
    """Counts the questions it is asked, and can be made to fail or to wait."""

    def __init__(self) -> None:
        super().__init__(lambda: self.now)
        self.now = 0.0
        self.asked: list[tuple[str, ...]] = []
        self.outage: Unavailable | None = None
        self.gate: asyncio.Event | None = None

    async def read_hashes(self, keys: Sequence[str], fields: Sequence[str]) -> list[list[bytes | None] | None]:
        self.asked.append(tuple(keys))
        if self.gate is not None:
            await self.gate.wait()
        if self.outage is not None:
            raise self.outage
        return await super().read_hashes(keys, fields)

    async def read(self, keys: Sequence[str]) -> list[bytes | None]:
        self.asked.append(("read", *keys))
        return await super().read(keys)


async def answers(helper: Lookup[Any], store: Store, *payloads: Any) -> list[Any]:
    """The answers in a wave and one by one, which must agree; refusals as their reasons."""
    asker = helper.open(store)
    questions = [asker.question(payload) for payload in payloads]
    many = [told(answer) for answer in await asker.ask_many(questions)]
    each = await asyncio.gather(*[alone(asker.ask(question)) for question in questions])
    assert many == list(each)
    return many


async def alone(asked: Awaitable[Any]) -> Any:
    try:
        return await asked
    except Reject as error:
        return f"rejected: {error.reason}"


def told(answer: Any) -> Any:
    if isinstance(answer, Failure):
        assert isinstance(answer.error, Reject)
        return f"rejected: {answer.error.reason}"
    return answer


def cards(*numbers: int) -> list[Payment]:
    return [Payment(card=str(number)) for number in numbers]


async def test_hashes_and_missing_keys(store: Store) -> None:
    await store.delete(["l:1", "l:2", "l:3"])
    await store.write_hash("l:1", {"mean": 1.5, "holder": "Ann", "other": "x"})
    await store.write_hash("l:2", {"mean": 2})
    one, two, none = Card(1.5, "Ann"), Card(2.0), Card(0.0, "new")
    assert await answers(lookup("l:{card}", Card), store, *cards(1, 2, 3, 1)) == [one, two, None, one]
    assert await answers(lookup("l:{card}", Card, default=none), store, *cards(3, 1)) == [none, one]
    assert await answers(lookup("l:{card}", Card, missing="reject"), store, *cards(1, 3)) == [
        one,
        "rejected: the store has no l:3",
    ]


async def test_what_does_not_fit_rejects_its_own_event_alone(store: Store) -> None:
    await store.delete(["bad:1", "bad:2"])
    await store.write_hash("bad:1", {"mean": "much"})
    await store.write_hash("bad:2", {"mean": "2"})
    found = await answers(lookup("bad:{card}", Card), store, *cards(1, 2))
    assert found == ["rejected: bad:1: its field 'mean' is 'much': Expected `float`, got `str`", Card(2.0)]


async def test_json_lies_beside_hashes(store: Store) -> None:
    keys = [f"form:{number}" for number in range(7)]
    await store.delete(keys)
    await store.write_hash("form:0", {"mean": 0})
    await store.write("form:1", b'{"mean": 1}')
    await store.write("form:2", b'{"mean": 2, "holder": "Bo"}')
    await store.write("form:3", b'{"mean": "three"}')
    await store.append("form:4", {"a": b"1"})
    expected = [
        Card(0.0),
        Card(1.0),
        Card(2.0, "Bo"),
        "rejected: form:3 is not the JSON of its type: Expected `float`, got `str` - at `$.mean`",
        "rejected: form:4 holds neither a hash nor a string",
        None,
    ]
    helper = lookup("form:{card}", Card)
    asker = helper.open(store)
    for _ in range(3):
        assert [told(each) for each in await asker.ask_many(keys[:6])] == expected
    assert await answers(helper, store, *cards(*range(6))) == expected


async def test_the_form_that_most_keys_have_is_asked_for_first() -> None:
    store = Counting()
    for number in range(4):
        await store.write(f"c:{number}", b'{"mean": 1}')
    asker = lookup("c:{card}", Card).open(store)
    keys = [f"c:{number}" for number in range(4)]
    for _ in range(2):
        assert await asker.ask_many(keys) == [Card(1.0)] * 4
    assert store.asked == [tuple(keys), ("read", *keys), ("read", *keys)]


async def test_whole_hashes(store: Store) -> None:
    await store.delete(["rates:1", "rates:2", "rates:3", "rates:4"])
    await store.write_hash("rates:1", {"EUR": 1, "USD": 1.09})
    await store.write("rates:2", b'{"EUR": 2}')
    await store.write_hash("rates:4", {"EUR": "x"})
    assert await answers(lookup("rates:{card}", dict[str, float]), store, *cards(1, 2, 3, 4)) == [
        {"EUR": 1.0, "USD": 1.09},
        {"EUR": 2.0},
        None,
        "rejected: rates:4: its field 'EUR' is 'x': Expected `float`, got `str`",
    ]
    assert await answers(lookup("rates:{card}", dict[str, str]), store, *cards(1)) == [{"EUR": "1", "USD": "1.09"}]


async def test_values_of_other_types_are_json(store: Store) -> None:
    await store.delete(["v:1", "v:2", "v:3"])
    await store.write("v:1", b"[1, 2]")
    await store.write_hash("v:2", {"a": 1})
    held = "rejected: v:2 holds something else than a string"
    assert await answers(lookup("v:{card}", list[int]), store, *cards(1, 2, 3)) == [[1, 2], held, None]
    assert await answers(lookup("v:{card}", str), store, *cards(1)) == ["[1, 2]"]
    assert await answers(lookup("v:{card}", list[int] | None, default=[]), store, *cards(3)) == [[]]


async def test_keys_from_payloads() -> None:
    store = MemoryStore()
    for key in ("k:7", "k:a:7", "fixed", "k:o"):
        await store.write_hash(key, {"mean": 1})
    for template, payload in (
        ("k:{number}", Payment(number=7)),
        ("k:{card}:{number}", Payment("a", number=7)),
        ("k:{owner.id}", Payment(owner=Owner("o"))),
        ("k:{items}", {"items": "o"}),
        ("k:{owner.id}", {"owner": {"id": "o"}}),
        ("fixed", Payment()),
    ):
        assert await answers(lookup(template, Card), store, payload) == [Card(1.0)], template


@pytest.mark.parametrize("payload", [Payment(owner=Owner()), Payment(), {"card": "1"}, {}])
def test_a_payload_without_the_field_is_rejected(payload: object) -> None:
    asker = lookup("k:{owner.id}", Card).open(MemoryStore())
    with pytest.raises(Reject, match=r"k:\{owner.id\} needs owner.id, which the payload does not have"):
        asker.question(payload)


async def test_equal_questions_in_flight_are_asked_once() -> None:
    store = Counting()
    store.gate = asyncio.Event()
    await store.write_hash("c:1", {"mean": 1})
    asker = lookup("c:{card}", Card).open(store)
    alone = [asyncio.ensure_future(asker.ask("c:1")) for _ in range(3)]
    wave = asyncio.ensure_future(asker.ask_many(["c:1", "c:2", "c:1"]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    late = asyncio.ensure_future(asker.ask_many(["c:2", "c:3", "c:1"]))
    await asyncio.sleep(0)
    store.gate.set()
    assert await asyncio.gather(*alone) == [Card(1.0)] * 3
    assert await wave == [Card(1.0), None, Card(1.0)]
    assert await late == [None, None, Card(1.0)]
    assert sorted(key for keys in store.asked for key in keys) == ["c:1", "c:2", "c:3"]
    assert await asker.ask("c:1") == Card(1.0)
    assert len(store.asked) == 4, "without a cache what has landed is asked anew"


async def test_who_is_cancelled_disturbs_nobody_else() -> None:
    store = Counting()
    store.gate = asyncio.Event()
    await store.write_hash("c:1", {"mean": 1})
    asker = lookup("c:{card}", Card).open(store)
    first = asyncio.ensure_future(asker.ask_many(["c:1"]))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(asker.ask("c:1"))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    store.gate.set()
    assert await second == Card(1.0)


async def test_a_cache_holds_values_and_their_absence_for_a_while() -> None:
    store = Counting()
    await store.write_hash("c:1", {"mean": 1})
    asker = lookup("c:{card}", Card, missing="reject", cache="1m").open(store)
    for _ in range(3):
        found = [told(each) for each in await asker.ask_many(["c:1", "c:2"])]
        assert found == [Card(1.0), "rejected: the store has no c:2"]
        assert await asker.ask("c:1") == Card(1.0)
        with pytest.raises(Reject):
            await asker.ask("c:2")
    assert store.asked == [("c:1", "c:2")]
    await store.write_hash("c:2", {"mean": 2})
    store.now = 59.9
    assert isinstance((await asker.ask_many(["c:2"]))[0], Failure)
    store.now = 60.0
    assert await asker.ask_many(["c:2"]) == [Card(2.0)]
    assert await asker.ask_many(["c:3", "c:2", "c:1"]) != []
    assert store.asked[2:] == [("c:3", "c:1")]


async def test_an_outage_concerns_all_and_is_not_remembered() -> None:
    store = Counting()
    store.outage = Unavailable("store", "down")
    asker = lookup("c:{card}", Card, cache="1m").open(store)
    one, many = asyncio.ensure_future(asker.ask("c:1")), asyncio.ensure_future(asker.ask_many(["c:1", "c:2"]))
    for each in (one, many):
        with pytest.raises(Unavailable, match="down"):
            await each
    store.outage = None
    assert await asker.ask_many(["c:1", "c:2"]) == [None, None]


async def test_a_killed_server_is_an_outage_until_it_is_back(own_redis: Redis) -> None:
    store = RedisStore(Site(Settings({"PENSTOCK_STORE": own_redis.address})))
    await store.open()
    await store.write_hash("c:1", {"mean": 1})
    own_redis.stop()
    asker = lookup("c:{card}", Card).open(store)
    with pytest.raises(Unavailable):
        await asker.ask_many(["c:1"])
    own_redis.start()
    while True:
        try:
            assert await asker.ask_many(["c:1"]) == [Card(1.0)]
            break
        except Unavailable:
            await asyncio.sleep(0.01)
    await store.close()


async def test_no_questions() -> None:
    assert await lookup("c:{card}", Card).open(MemoryStore()).ask_many([]) == []


def test_the_answer_is_told_to_type_checkers_and_to_build() -> None:
    assert_type(lookup("c:{card}", Card), Lookup[Card | None])
    assert_type(lookup("c:{card}", Card, missing="reject"), Lookup[Card])
    assert_type(lookup("c:{card}", Card, default=Card(1.0)), Lookup[Card])
    assert_type(lookup("c:{card}", dict[str, float], default=None), Lookup[dict[str, float] | None])
    assert lookup("c:{card}", Card).answer == Card | None
    assert lookup("c:{card}", Card, missing="reject").answer is Card
    assert lookup("c:{card}", Card, default=Card(1.0)).answer is Card
    assert lookup("c:{card}", Card, default=None).answer == Card | None
    assert lookup("c:{card}", dict[str, float], default={}).answer == dict[str, float]
    assert lookup("c:{card}", float, default="none").answer == float | str


def test_it_is_a_helper_with_the_payloads_fields() -> None:
    helper = lookup("c:{card}:{owner.id}", Card)
    assert isinstance(helper, Helper)
    assert helper.fields == ("card", "owner.id")


def test_declarations_that_cannot_work() -> None:
    with pytest.raises(DeclarationError, match="braces hold one field name"):
        lookup("c:{card", Card)
    both: Any = {"default": None, "missing": "reject"}
    with pytest.raises(DeclarationError, match="one of them"):
        lookup("c:{card}", Card, **both)
    with pytest.raises(ValueError, match="not a length of time"):
        lookup("c:{card}", Card, cache="soon")
