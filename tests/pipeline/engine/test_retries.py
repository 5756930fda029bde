"""Trying again: whose policy counts, what is given again, what is asked again, and what is told meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from penstock import Pipeline, Retries, Retry, Stream, Unavailable, call
from penstock.connectors.store.memory import MemoryStore
from penstock.connectors.store.reply import ReplyError
from penstock.models.prediction import Prediction
from penstock.pipeline.testing.harness import harness
from tests.pipeline.doubles import Asking, Memory, bench

ONCE = Retries(attempts=1)
FIVE = Retries(attempts=5, first="1s", longest="1s")
Payload = dict[str, Any]


async def later(payload: Payload) -> Payload:
    await asyncio.sleep(0)
    return payload


def begun(form: str, **options: Any) -> tuple[Pipeline, Stream[Payload]]:
    made = Pipeline("again", **options)
    stream: Stream[Payload] = made.source(Memory("in"), schema=Payload, key="key", id="id")
    if form == "wave":
        stream = stream.enrich(asked=Asking(len))
    elif form == "slot":
        stream = stream.filter(call(truly, thread=True))
    return made, stream


def truly(payload: Payload) -> bool:
    return True


class Fails:
    """A function that fails a number of times and counts its calls."""

    def __init__(self, times: int, answer: Any = 1, error: Exception | None = None) -> None:
        self.times = times
        self.answer = answer
        self.error = error or RuntimeError("not yet")
        self.calls = 0

    def __call__(self, payload: Any) -> Any:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return self.answer

    async def later(self, payload: Any) -> Any:
        await asyncio.sleep(0)
        return self(payload)


PLACES: dict[str, Callable[[Stream[Any], Any], Any]] = {
    "transform": lambda stream, f: stream.transform(f, stage="failing"),
    "filter": lambda stream, f: stream.filter(f, stage="failing"),
    "enrich": lambda stream, f: stream.enrich(found=f),
    "second of an enrich": lambda stream, f: stream.enrich(first=lambda payload: 1, found=f, third=lambda payload: 3),
    "features": lambda stream, f: stream.infer("m@x", f),
    "fallback": lambda stream, f: stream.infer("m@x", lambda payload: [1.0], fallback=f),
}


def broken(row: Any) -> float:
    raise ValueError("no model today")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["plain", "coroutine"])
async def test_the_retries_of_a_call_count_in_any_position(form: str, place: str, kind: str) -> None:
    if place == "fallback" and kind == "coroutine":
        pytest.skip("a fallback is a plain function")
    made, stream = begun(form, retry=ONCE)
    failing = Fails(4, [1.0] if place == "features" else 0.5 if place == "fallback" else True)
    function: Any = failing if kind == "plain" else failing.later
    if place == "fallback":
        made.retry, function = FIVE, failing
    else:
        function = call(function, retry=FIVE)
    PLACES[place](stream, function).act(lambda payload: 1, to=Memory("out"), stage="say")
    async with harness(made, models={"m@x": broken if place == "fallback" else Prediction(0.5)}) as h:
        assert not (await h.send({"id": "1", "key": "k"})).finished
        await h.advance("1m")
        assert (failing.calls, h.actions("say"), h.dead) == (5, [1], [])


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
async def test_what_an_enrich_has_found_is_not_asked_for_again(form: str, kind: str) -> None:
    made, stream = begun(form, retry=ONCE)
    fine, third = Fails(0, "fine"), Fails(0, "third")
    one, other = Fails(2, "one"), Fails(4, "other")

    def of(fails: Fails) -> Any:
        return fails if kind == "plain" else fails.later

    stream.enrich(
        a=of(fine), b=call(of(one), retry=Retries(attempts=3, first="1s")), c=call(of(other), retry=FIVE), d=of(third)
    ).act(lambda payload, a, b, c, d: [[a, b, c, d]], to=Memory("out"), stage="say")
    async with harness(made) as h:
        await h.send({"id": "1", "key": "k"})
        await h.advance("1m")
        assert h.actions("say") == [["fine", "one", "other", "third"]]
    assert (fine.calls, one.calls, other.calls, third.calls) == (1, 3, 5, 1)


async def test_each_function_of_an_enrich_has_its_own_attempts(form: str) -> None:
    made, stream = begun(form, retry=ONCE)
    stream.enrich(
        a=call(Fails(1).later, retry=Retries(attempts=2, first="1s")),
        b=call(Fails(99).later, retry=Retries(attempts=3, first="1s")),
    ).end()
    async with harness(made) as h:
        await h.send({"id": "1", "key": "k"})
        await h.advance("1m")
        (letter,) = h.dead
        assert letter.attempts == 3


async def test_a_try_is_given_what_the_first_one_was(form: str) -> None:
    made, stream = begun(form, retry=FIVE)
    seen: list[Payload] = []

    def changes(payload: Payload) -> Payload:
        seen.append(dict(payload))
        payload["id"] = "changed"
        payload["items"].append(7)
        if len(seen) < 3:
            raise RuntimeError("not yet")
        return payload

    stream.transform(changes).act(lambda payload: payload["items"], to=Memory("out"), stage="say")
    async with harness(made) as h:
        sent = {"id": "1", "key": "k", "items": [1]}
        await h.send(sent)
        await h.advance("1m")
        assert [one["id"] for one in seen] == ["1", "1", "1"]
        assert [one.data for one in h.sent(Memory("out"))] == [1, 7]


async def test_a_waiting_event_holds_no_slot() -> None:
    made, stream = begun("slot", concurrency=1, retry=Retries(attempts=2, first="10s"))

    def failing(payload: Payload) -> str:
        if payload["key"] == "bad":
            raise RuntimeError("never")
        return str(payload["id"])

    stream.act(failing, to=Memory("out"))
    async with harness(made) as h:
        assert not (await h.send({"id": "1", "key": "bad"})).finished
        assert not (await h.send({"id": "2", "key": "bad"})).finished
        assert (await h.send({"id": "3", "key": "good"})).actions == ["3"]


async def test_waits_grow_up_to_the_longest_and_an_own_wish_is_not_shortened() -> None:
    made, stream = begun("loop", retry=Retries(attempts=6, first="1s", longest="4s"))
    times: list[float] = []

    def failing(payload: Payload) -> Payload:
        times.append(h.clock.time())
        raise Retry("1m") if len(times) == 5 else RuntimeError("never")

    stream.transform(failing).end()
    async with harness(made) as h:
        await h.send({"id": "1", "key": "k"})
        await h.advance("5m")
    waits = [after - before for before, after in pairwise(times)]
    for wait, longest in zip(waits, (1.0, 2.0, 4.0, 4.0), strict=False):
        assert longest / 2 <= wait <= longest
    assert waits[4] == 60.0


async def test_each_try_is_a_line_and_a_number(form: str, caplog: pytest.LogCaptureFixture) -> None:
    made, stream = begun(form, retry=Retries(attempts=2, first="1s", longest="1s"))
    stream.transform(Fails(99), stage="failing").end()
    caplog.set_level(logging.INFO, "penstock")
    async with harness(made, start=1_750_000_000.0) as h:
        await h.send({"id": "e7", "key": "k"})
        found = h.engine.statistics()
        assert (found["retries"], found["waiting"]) == ({"failing": 1}, {"failing": 1})
        assert list(found["troubled"].values()) == [1]
        await h.advance("2s")
        found = h.engine.statistics()
        assert (found["retries"], found["waiting"], found["failures"]) == (
            {"failing": 1},
            {"failing": 0},
            {"failing": 2},
        )
        assert list(found["troubled"].values()) == [0]
    line = next(record.getMessage() for record in caplog.records if "try 1 of 2" in record.getMessage())
    assert line.startswith("event e7 failed in failing (try 1 of 2, RuntimeError: not yet): again in 0.")
    assert ", at 2025-06-15T15:06:4" in line


async def test_a_stream_of_failures_is_not_a_stream_of_lines(form: str, caplog: pytest.LogCaptureFixture) -> None:
    made, stream = begun(form, retry=Retries(attempts=2, first="1s", longest="1s"))
    stream.transform(Fails(99_999), stage="failing").end()
    caplog.set_level(logging.INFO, "penstock")
    async with harness(made) as h:
        for number in range(40):
            await h.send({"id": str(number), "key": str(number)})
        await h.advance("5s")
        assert len(h.dead) == 40
    kinds = Counter(record.getMessage().split(" ")[0] for record in caplog.records)
    assert kinds["event"] <= 40
    assert "in the last second 30 more events failed in failing and are tried again" in caplog.messages


class Odd(MemoryStore):
    """A store in which something else lies where the dead letters should be."""

    error: Exception | None = None

    async def append(self, stream: str, entry: Any, *, id: str = "") -> str:
        if self.error is not None:
            raise self.error
        return await super().append(stream, entry, id=id)


@pytest.mark.parametrize("error", [ReplyError("WRONGTYPE not a stream"), Unavailable("store", "gone")])
async def test_an_event_without_a_letter_waits_for_one(form: str, error: Exception) -> None:
    made, stream = begun(form, retry=ONCE)
    stream.transform(Fails(1, {}), stage="failing").end()
    store = Odd()
    store.error = error
    async with bench(made, store=store) as b:
        b.topic("in").extend([b'{"id": "1", "key": "k"}'])
        await b.until(lambda: bool(b.engine.problems()))
        assert b.confirmed("in") == 0
        store.error = None
        await b.until(lambda: b.confirmed("in") == 1)
        assert b.engine.problems() == []
        b.topic("in").extend([b'{"id": "2", "key": "k"}'])
        await b.until(lambda: b.confirmed("in") == 2)
        assert b.engine.letters.written == 1


class Item(msgspec.Struct):
    id: str
    count: int = 0


@pytest.mark.parametrize("kind", ["plain", "coroutine", "generator", "async generator"])
async def test_a_harness_fails_who_changes_what_branches_share(kind: str) -> None:
    def change(item: Item) -> Item:
        item.count += 1
        return item

    async def soon(item: Item) -> Item:
        return change(item)

    def each(item: Item) -> Any:
        yield change(item)

    async def each_soon(item: Item) -> Any:
        yield change(item)

    function = {"plain": change, "coroutine": soon, "generator": each, "async generator": each_soon}[kind]
    made = Pipeline("shared")
    stream = made.source(Memory("in"), schema=Item)
    stream.act(lambda item: item.count, to=Memory("first"), stage="first")
    alone = stream.transform(lambda item: Item(item.id), stage="own")
    stream.transform(function, stage="changes").end()
    alone.transform(change, stage="may").act(lambda item: item.count, to=Memory("second"), stage="second")
    async with harness(made) as h:
        outcome = await h.send(Item("1"))
        assert outcome.dead is not None
        assert outcome.dead.reason.startswith("changes() changed the payload, which other branches share")
        assert (h.actions("first"), h.actions("second")) == ([0], [1])


async def test_an_event_that_waits_keeps_no_frame_of_those_it_ran_beside(form: str) -> None:
    """A frozen exception too, whose attributes cannot be set."""

    @dataclass(frozen=True)
    class Frozen(Exception):
        number: int

    fails = Fails(1, error=Frozen(7))
    made, stream = begun(form, retry=FIVE)
    stream.transform(fails, stage="failing").end()
    async with harness(made) as h:
        await h.send({"key": "a", "id": "1"})
        assert fails.calls == 1
        assert fails.error.__traceback__ is None
        await h.advance("5s")
        assert fails.calls == 2
