"""State: folded once for each event, whatever is repeated and whoever else changes it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from pydantic import BaseModel

from penstock.connectors import Store
from penstock.connectors.mark import Mark
from penstock.connectors.store.guard import Swap
from penstock.connectors.store.memory import MemoryStore
from penstock.errors import DeclarationError, Unavailable
from penstock.stages.folding import Folding, key_of
from penstock.stages.helper import Failure, Helper, Updating, updating
from penstock.stages.lookup import lookup
from penstock.stages.outcome import Reject
from penstock.stages.state import state


class Payment(Struct, frozen=True):
    card: str
    amount: float = 1.0


class Spent(Struct, frozen=True):
    count: int
    total: float


class Balance(BaseModel):
    left: float


def add(spent: Spent | None, payment: Payment) -> Spent:
    if payment.amount < 0:
        raise ValueError("negative")
    return Spent(1, payment.amount) if spent is None else Spent(spent.count + 1, spent.total + payment.amount)


SPENT = state(Spent, by="card", update=add)


class Counting(MemoryStore):
    """Counts the requests, and can be made to fail them before or after they are done."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[int] = []
        self.before: Exception | None = None
        self.after: Exception | None = None

    async def swap(self, swaps: Sequence[Swap]) -> list[bool]:
        self.requests.append(len(swaps))
        if self.before is not None:
            raise self.before
        agreed = await super().swap(swaps)
        if self.after is not None:
            raise self.after
        return agreed


@pytest.fixture
async def store(store: Store) -> Store:
    """A store without what the last test folded."""
    await store.delete([f"fold:{card}" for card in "abc"])
    return store


def at(place: int, path: str = "") -> Mark:
    return Mark("payments/0", f"{place:019d}", path=path)


async def put(folding: Folding, place: int, payment: Payment) -> Spent:
    answer: Spent = await folding.ask((folding.question(payment), at(place)))
    return answer


async def test_events_are_folded_and_repeats_get_what_they_got(store: Store) -> None:
    one, other = SPENT.open(store, "fold:"), SPENT.open(store, "fold:")
    assert await put(one, 0, Payment("a", 2.0)) == Spent(1, 2.0)
    assert await put(one, 1, Payment("a", 3.0)) == Spent(2, 5.0)
    assert await put(other, 0, Payment("a", 2.0)) == Spent(1, 2.0), "another process, the same event"
    assert await put(other, 2, Payment("b")) == Spent(1, 1.0)
    assert await put(other, 3, Payment("a", 1.0)) == Spent(3, 6.0)
    assert await put(one, 4, Payment("a", 1.0)) == Spent(4, 7.0), "what this one remembered is out of date"
    assert await put(one, 3, Payment("a", 1.0)) == Spent(3, 6.0)


async def test_many_events_of_one_key_are_one_request(store: Store) -> None:
    counting = Counting()
    folding = SPENT.open(counting, "fold:")
    await put(folding, 0, Payment("a"))
    counting.requests.clear()
    questions = [(folding.question(Payment("a")), at(place)) for place in range(1, 50)]
    answers = await folding.ask_many(questions)
    assert [answer.count for answer in answers] == list(range(2, 51))
    assert counting.requests == [49]


async def test_a_wave_with_new_keys_repeats_and_failures(store: Store) -> None:
    folding = SPENT.open(store, "fold:")
    await put(folding, 1, Payment("a", 5.0))
    asked = [
        (folding.question(Payment("a", 1.0)), at(2)),
        (folding.question(Payment("a", 9.0)), at(1)),
        (folding.question(Payment("a", -1.0)), at(3)),
        (folding.question(Payment("b", 1.0)), at(4)),
        (folding.question(Payment("b", 2.0)), at(5)),
        (folding.question(Payment("a", 3.0)), at(6)),
    ]
    answers = await folding.ask_many(asked)
    assert isinstance(answers[2], Failure)
    assert str(answers[2].error) == "negative"
    assert answers[1] == Spent(1, 5.0), "it was here before"
    assert answers[3:5] == [Spent(1, 1.0), Spent(2, 3.0)]
    assert {answers[0], answers[5]} in ({Spent(2, 6.0), Spent(3, 9.0)}, {Spent(2, 8.0), Spent(3, 9.0)})


async def test_an_event_that_was_here_does_not_fail_when_it_comes_again() -> None:
    def spend(left: float | None, payment: Payment) -> float:
        left = 10.0 if left is None else left
        if payment.amount > left:
            raise ValueError("too much")
        return left - payment.amount

    folding = state(float, by="card", update=spend).open(MemoryStore(), "fold:")
    assert await folding.ask((folding.question(Payment("a", 8.0)), at(0))) == 2.0
    assert await folding.ask((folding.question(Payment("a", 8.0)), at(0))) == 2.0
    with pytest.raises(ValueError, match="too much"):
        await folding.ask((folding.question(Payment("a", 8.0)), at(1)))


async def test_a_failure_upon_a_value_that_is_out_of_date_is_none() -> None:
    def spend(left: float | None, payment: Payment) -> float:
        if left is not None and payment.amount > left:
            raise ValueError("too much")
        return (10.0 if left is None else left) - payment.amount

    store, declared = MemoryStore(), state(float, by="card", update=spend)
    one, other = declared.open(store, "fold:"), declared.open(store, "fold:")
    assert await one.ask((one.question(Payment("a", 8.0)), at(0))) == 2.0
    assert await other.ask((other.question(Payment("a", -7.0)), at(1))) == 9.0
    assert await one.ask((one.question(Payment("a", 5.0)), at(2))) == 4.0


async def test_a_value_of_another_type_fails_its_event_alone() -> None:
    def wrong(count: int | None, payment: Payment) -> int:
        return "many" if payment.amount < 0 else (count or 0) + 1  # type: ignore[return-value]

    folding = state(int, by="card", update=wrong).open(MemoryStore(), "fold:")
    assert await folding.ask((folding.question(Payment("a")), at(0))) == 1
    with pytest.raises(ValueError, match="Expected `int`, got `str`"):
        await folding.ask((folding.question(Payment("a", -1.0)), at(1)))
    assert await folding.ask((folding.question(Payment("a")), at(2))) == 2


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_outage_whether_or_not_it_was_done(when: str) -> None:
    store = Counting()
    folding = SPENT.open(store, "fold:")
    await put(folding, 0, Payment("a"))
    setattr(store, when, Unavailable("store", "gone"))
    with pytest.raises(Unavailable):
        await put(folding, 1, Payment("a"))
    setattr(store, when, None)
    assert await put(folding, 2, Payment("a")) == Spent(2 if when == "before" else 3, 2.0 if when == "before" else 3.0)
    again = await put(folding, 1, Payment("a"))
    assert again.count == (3 if when == "before" else 2)


async def test_what_a_letter_says_was_done_is_not_done_again() -> None:
    store = Counting()
    folding = SPENT.open(store, "fold:")
    done: dict[str, bytes] = {}
    first = await folding.ask((folding.question(Payment("a")), Mark("payments/0", "1", results=done)))
    store.requests.clear()
    replayed = Mark(id="letter#1", results=dict(done))
    assert await folding.ask((folding.question(Payment("a", 99.0)), replayed)) == first
    assert store.requests == []
    for _ in range(2):
        assert await folding.ask((folding.question(Payment("a")), Mark(id="letter#2"))) == Spent(2, 2.0)


async def test_an_event_that_comes_twice_at_once_upon_a_value_that_is_out_of_date(store: Store) -> None:
    one, other = SPENT.open(store, "fold:"), SPENT.open(store, "fold:")
    await put(other, 0, Payment("a"))
    await put(one, 0, Payment("a"))
    await put(one, 1, Payment("a"))
    twice = [(other.question(Payment("a")), at(2)), (other.question(Payment("a")), at(2))]
    assert await other.ask_many(twice) == [Spent(3, 3.0), Spent(3, 3.0)]


async def test_a_mark_without_an_identity_only_reads(store: Store) -> None:
    folding = SPENT.open(store, "fold:")
    with pytest.raises(Reject, match="the state is gone"):
        await folding.ask((folding.question(Payment("a")), Mark()))
    assert await put(folding, 0, Payment("a")) == Spent(1, 1.0)
    for path in ("", ".1"):
        assert await folding.ask((folding.question(Payment("a")), Mark(path=path))) == Spent(1, 1.0)
    assert await put(folding, 1, Payment("a")) == Spent(2, 2.0)


async def test_what_is_forgotten_while_the_store_is_asked_is_read_again() -> None:
    """Another task may forget a value that two processes have changed, just when this one has gone to read others."""

    class Slow(MemoryStore):
        async def read_maps(self, keys: Sequence[str]) -> list[dict[bytes, bytes] | None]:
            found = await super().read_maps(keys)
            if keys == ["fold:b"]:
                folding.forget()
            return found

    folding = SPENT.open(Slow(), "fold:")
    assert await put(folding, 0, Payment("a")) == Spent(1, 1.0)
    asked = [(folding.question(Payment(card)), at(place)) for place, card in ((1, "a"), (2, "b"))]
    assert await folding.ask_many(asked) == [Spent(2, 2.0), Spent(1, 1.0)]


async def test_something_else_under_the_key() -> None:
    store = MemoryStore()
    await store.write("fold:a", b"1")
    await store.write_hash("fold:b", {"=": "\x07", "+": "v"})
    folding = SPENT.open(store, "fold:")
    for card, message in (
        ("a", "fold:a is not what this stage keeps: it holds another"),
        ("b", "fold:b holds what is no"),
    ):
        with pytest.raises(Reject, match=message):
            await put(folding, 0, Payment(card))


async def test_pydantic_tuples_and_functions_of_the_payload() -> None:
    def pay(balance: Balance | None, payment: Payment) -> Balance:
        return Balance(left=(100.0 if balance is None else balance.left) - payment.amount)

    store = MemoryStore()
    folding = state(Balance, by=("card", "amount"), update=pay).open(store, "fold:")
    assert await folding.ask((folding.question(Payment("a", 2.0)), at(0))) == Balance(left=98.0)
    assert await folding.ask((folding.question(Payment("a", 2.0)), at(1))) == Balance(left=96.0)
    assert await store.read_hashes(["fold:a|2.0"], ["="]) == [[b'{"left":96.0}']]
    assert key_of(lambda payment: payment.card[0])(Payment("xyz")) == "x"
    assert key_of("card.id")({"card": {"id": 7}}) == "7"
    for payload in ({"card": None}, {}, Payment("a")):
        with pytest.raises(Reject, match="the state's key"):
            key_of("card" if payload != Payment("a") else "crad")(payload)


def test_the_declaration() -> None:
    assert isinstance(SPENT, Helper)
    assert isinstance(SPENT, Updating)
    assert updating(SPENT)
    assert not updating(lookup("card:{card}", Spent))
    assert (SPENT.answer, SPENT.fields) == (Spent, ("card",))
    with pytest.raises(DeclarationError, match=r"state\(.*: a value of this type cannot be kept: .*tagged"):
        state(Spent | Payment, by="card", update=lambda value, payment: Payment("a"))
    with pytest.raises(DeclarationError, match="horizon"):
        state(int, by="card", update=lambda value, payment: 1, horizon="soon")


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 14)), max_size=60), st.integers(0, 2**32))
def test_any_interleaving_counts_each_event_once(deliveries: list[tuple[int, int]], seed: int) -> None:
    """Three processes, each with what it remembers, get events of two keys again and again, in waves of any size."""
    chance = random.Random(seed)

    async def play() -> None:
        store = MemoryStore()
        processes = [SPENT.open(store, "fold:") for _ in range(3)]
        got: dict[int, Spent] = {}
        while deliveries:
            process, _ = deliveries[0]
            size = chance.randint(1, 8)
            wave = [place for _, place in deliveries[:size]]
            del deliveries[:size]
            folding = processes[process]
            questions = [(folding.question(Payment("ab"[place % 2])), at(place)) for place in wave]
            for place, answer in zip(wave, await folding.ask_many(questions), strict=True):
                assert got.setdefault(place, answer) == answer
        for key in range(2):
            counts = sorted(spent.count for place, spent in got.items() if place % 2 == key)
            assert counts == list(range(1, len(counts) + 1))

    asyncio.run(play())


async def test_processes_that_race_for_one_key(store: Store) -> None:
    processes = [SPENT.open(store, "fold:") for _ in range(3)]

    async def write(folding: Folding, places: list[int]) -> dict[int, Spent]:
        return {place: await put(folding, place, Payment("c")) for place in places}

    places = list(range(20))
    found = await asyncio.gather(
        *[write(folding, order) for folding, order in zip(processes, (places, places[::-1], places), strict=True)]
    )
    assert found[0] == found[1] == found[2]
    assert sorted(spent.count for spent in found[0].values()) == list(range(1, 21))
