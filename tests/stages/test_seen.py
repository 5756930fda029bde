"""What is asked of the store, and what its answers mean, for one record."""

from __future__ import annotations

from typing import Any

import pytest

from penstock import DeclarationError
from penstock.connectors import Batch, Partition
from penstock.connectors.store.memory import MemoryStore
from penstock.stages import seen
from penstock.stages.helper import Failure
from penstock.stages.outcome import Wait
from penstock.stages.seen import DONE, Seeing, compared


class Placed(Batch):
    """Records with positions."""

    def origin(self, index: int) -> str:
        return "t/0"

    def place(self, index: int) -> str:
        return f"{index:04d}"


class Back(Batch):
    """Records without positions that were set aside."""

    again = True


class Holding:
    """Notes what is claimed."""

    def __init__(self) -> None:
        self.held: list[tuple[int, str, bytes]] = []

    def hold(self, batch: Batch, index: int, key: str, owner: bytes, within: float) -> None:
        self.held.append((index, key, owner))


def seeing(store: MemoryStore) -> tuple[Seeing, Holding]:
    claims = Holding()
    return Seeing(60.0, compared("id", dict[str, Any]), store, "seen:", claims), claims


def batch(kind: type[Batch], count: int = 2) -> Batch:
    return kind(Partition("t"), [b"{}"] * count)


async def test_the_first_claims_the_second_waits_and_what_is_done_is_seen() -> None:
    store = MemoryStore()
    asker, claims = seeing(store)
    records = batch(Placed)
    first, second = (asker.question({"id": 7}, records, index, ()) for index in (0, 1))
    assert await asker.ask_many([first, first]) == [False, False]
    [waits] = await asker.ask_many([second])
    assert isinstance(waits, Failure)
    assert isinstance(waits.error, Wait)
    with pytest.raises(Wait):
        await asker.ask(second)
    assert {(index, key) for index, key, _ in claims.held} == {(0, "seen:7")}
    await store.write("seen:7", DONE + claims.held[0][2])
    assert await asker.ask(second) is True
    assert await asker.ask(asker.question({"id": 7}, batch(Placed), 0, ())) is False, "the same position goes on"


async def test_what_has_no_position_is_somebody_else_each_time() -> None:
    store = MemoryStore()
    asker, claims = seeing(store)
    first, other = batch(Batch), batch(Batch)
    assert await asker.ask(asker.question({"id": 7}, first, 0, ())) is False
    with pytest.raises(Wait):
        await asker.ask(asker.question({"id": 7}, other, 0, ()))
    await store.write("seen:7", DONE + claims.held[0][2])
    assert await asker.ask(asker.question({"id": 7}, other, 0, ())) is True


async def test_what_was_set_aside_is_not_dropped_for_having_been() -> None:
    store = MemoryStore()
    asker, _ = seeing(store)
    await store.write("seen:7", DONE + b"somebody")
    assert await asker.ask(asker.question({"id": 7}, batch(Back), 0, ())) is False


async def test_an_answer_is_given_again_to_the_replay_of_a_letter() -> None:
    asker, _ = seeing(MemoryStore())
    records, replayed = batch(Batch), batch(Batch)
    question = asker.question({"id": 7}, records, 0, (1,))
    assert await asker.ask(question) is False
    assert records.updates[0] == {"seen:.1": b""}
    replayed.updates[0] = {"seen:.1": b""}
    assert await asker.ask(asker.question({"id": 7}, replayed, 0, (1,))) is False


@pytest.mark.parametrize("within", ["often", "0s"])
def test_within_is_a_time(within: str) -> None:
    with pytest.raises(DeclarationError, match=r"seen\(within"):
        seen("id", within=within)
