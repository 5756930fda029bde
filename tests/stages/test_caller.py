"""Functions with options at work: time-outs, defaults, caches, threads, lists."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import Reject, Retry, Unavailable
from penstock.pipeline.clock import ManualClock
from penstock.stages.caller import Bounded, Caller, ListCaller, limit
from penstock.stages.helper import Failure


def caller(target: Callable[..., Any], *takes: str, **options: Any) -> Caller:
    clock = options.pop("clock", ManualClock())
    return Caller(target, takes, clock=clock, coroutine=inspect.iscoroutinefunction(target), **options)


async def until(clock: ManualClock, delay: float, asked: Awaitable[Any]) -> Any:
    """Ask, and let this much time pass as soon as the function waits."""
    waiting = asyncio.ensure_future(asked)
    while clock.next_due() is None:
        await asyncio.sleep(0)
    clock.advance(delay)
    return await waiting


async def never(payload: Any) -> Any:
    await asyncio.Event().wait()


def failing(payload: Any) -> Any:
    raise ValueError(f"{payload} is wrong")


# -- one event -----------------------------------------------------------------------------------------------------


async def test_a_function_gets_its_payload_and_its_names() -> None:
    async def later(payload: str, *, profile: str) -> str:
        return f"{payload} {profile}"

    def now(payload: str, profile: str) -> str:
        return f"{payload} {profile}"

    assert await caller(later, "profile").ask(("p", "q")) == "p q"
    assert await caller(now, "profile").ask(("p", "q")) == "p q"


async def test_what_takes_too_long_says_so() -> None:
    clock = ManualClock()
    with pytest.raises(TimeoutError, match=r"^never\(\) took longer than 5 s$"):
        await until(clock, 5.0, caller(never, clock=clock, timeout=5.0).ask(("p",)))


async def test_what_takes_too_long_is_its_default() -> None:
    clock = ManualClock()
    assert await until(clock, 5.0, caller(never, clock=clock, timeout=5.0, default="d").ask(("p",))) == "d"


async def test_the_budget_of_the_event_bounds_the_wait_too() -> None:
    clock = ManualClock(start=100.0)
    asked = caller(never, clock=clock, timeout=5.0, default="d").ask(("p",), 101.0)
    assert await until(clock, 1.0, asked) == "d"


async def test_a_time_out_of_the_function_itself_is_told_as_it_is() -> None:
    async def own(payload: Any) -> Any:
        raise TimeoutError("the bank did not answer")

    with pytest.raises(TimeoutError, match="the bank did not answer"):
        await caller(own, timeout=5.0).ask(("p",))


async def test_a_failure_is_its_default_where_there_is_one() -> None:
    assert await caller(failing, default=None).ask(("p",)) is None
    with pytest.raises(ValueError, match="p is wrong"):
        await caller(failing).ask(("p",))


@pytest.mark.parametrize("said", [Reject("never"), Retry("1s")])
async def test_what_is_said_on_purpose_has_no_default(said: Exception) -> None:
    def saying(payload: Any) -> Any:
        raise said

    with pytest.raises(type(said)):
        await caller(saying, default="d").ask(("p",))


async def test_an_answer_is_kept_for_equal_arguments_until_it_is_old() -> None:
    clock, calls = ManualClock(), []

    def counted(payload: Any, profile: Any) -> int:
        calls.append((payload, profile))
        return len(calls)

    one = caller(counted, "profile", clock=clock, cache=60.0)
    assert [await one.ask((payload, "q")) for payload in ("a", "a", "b")] == [1, 1, 2]
    assert [await one.ask(({"not": "hashable"}, "q")) for _ in range(2)] == [3, 3]
    clock.advance(60.0)
    assert await one.ask(("a", "q")) == 4


async def test_neither_failures_nor_defaults_are_kept() -> None:
    calls = []

    def second(payload: Any) -> str:
        calls.append(payload)
        if len(calls) == 1:
            raise ValueError
        return "found"

    one = caller(second, cache=60.0, default="d")
    assert [await one.ask(("a",)) for _ in range(2)] == ["d", "found"]


async def test_the_oldest_answer_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.stages.caller._CACHED", 2)
    calls: list[str] = []
    one = caller(lambda payload: calls.append(payload), cache=60.0)
    for payload in ("a", "b", "c", "c", "b", "a"):
        await one.ask((payload,))
    assert calls == ["a", "b", "c", "a"]


async def test_a_plain_function_may_run_in_a_thread() -> None:
    def where(payload: Any) -> int:
        return threading.get_ident()

    assert await caller(where, thread=True).ask(("p",)) != threading.get_ident()
    assert await caller(where).ask(("p",)) == threading.get_ident()


@pytest.mark.parametrize(
    ("timeout", "by", "seconds"),
    [(None, None, None), (5.0, None, 5.0), (None, 12.0, 2.0), (5.0, 12.0, 2.0), (1.0, 9.0, 0.0)],
)
def test_how_long_a_step_may_take(timeout: float | None, by: float | None, seconds: float | None) -> None:
    assert limit(timeout, by, now=10.0) == seconds


# -- lists ---------------------------------------------------------------------------------------------------------


NUMBERS = st.integers(0, 30)


class Lists:
    """A function of lists that remembers its calls and fails for some payloads."""

    def __init__(self, *guilty: int, error: type[Exception] = ValueError) -> None:
        self.guilty = guilty
        self.error = error
        self.calls: list[list[int]] = []

    def __call__(self, payloads: list[int]) -> list[int]:
        self.calls.append(payloads)
        for payload in payloads:
            if payload in self.guilty:
                raise Unavailable("bank", "down") if self.error is Unavailable else self.error(payload)
        return [payload * 10 for payload in payloads]

    async def later(self, payloads: list[int]) -> list[int]:
        await asyncio.sleep(0)
        return self(payloads)


def lists(target: Callable[..., Any], *takes: str, max: int = 64, coroutine: bool = False) -> ListCaller:
    return ListCaller(target, takes, clock=ManualClock(), max=max, coroutine=coroutine)


async def test_what_one_tick_asks_is_one_call() -> None:
    function = Lists()
    many = lists(function, max=3)
    found = await asyncio.gather(*(many.ask((number,)) for number in range(5)))
    assert found == [0, 10, 20, 30, 40]
    assert function.calls == [[0, 1, 2], [3, 4]]


async def test_names_come_as_lists_too() -> None:
    def both(payloads: list[int], *, profile: Sequence[str]) -> list[str]:
        return [f"{payload}{one}" for payload, one in zip(payloads, profile, strict=True)]

    many = lists(both, "profile")
    assert await many.ask_many([(1, "a"), (2, "b")]) == ["1a", "2b"]


@given(
    st.lists(st.integers(0, 30), max_size=40),
    st.sets(st.integers(0, 30), max_size=4),
    st.integers(1, 16),
    st.booleans(),
)
def test_the_guilty_stand_alone_and_the_rest_succeed(
    payloads: list[int], guilty: set[int], most: int, later: bool
) -> None:
    async def ask() -> tuple[list[Any], list[Any]]:
        function = Lists(*guilty)
        many = lists(function.later if later else function, coroutine=later, max=most)
        questions = [(payload,) for payload in payloads]
        alone = await asyncio.gather(*map(many.ask, questions), return_exceptions=True)
        return alone, await many.ask_many(questions)

    alone, together = asyncio.run(ask())
    for payload, one, other in zip(payloads, alone, together, strict=True):
        if payload in guilty:
            assert isinstance(one, ValueError)
            assert isinstance(other, Failure)
            assert one.args == other.error.args == (payload,)
        else:
            assert one == other == payload * 10


async def test_an_outage_is_everybody_s_answer_after_one_call() -> None:
    function = Lists(2, error=Unavailable)
    many = lists(function)
    found = await asyncio.gather(*(many.ask((number,)) for number in range(4)), return_exceptions=True)
    assert [type(one) for one in found] == [Unavailable] * 4
    assert function.calls == [[0, 1, 2, 3]]
    with pytest.raises(Unavailable):
        await many.ask_many([(1,), (2,)])


async def test_one_guilty_costs_its_depth_and_nothing_that_succeeded_is_called_again() -> None:
    function = Lists(37)
    found = await lists(function).ask_many([(number,) for number in range(64)])
    assert [number for number, one in enumerate(found) if isinstance(one, Failure)] == [37]
    assert len(function.calls) == 1 + 2 * 6
    fine = [number for calls in function.calls for number in calls if 37 not in calls]
    assert sorted(fine) == [number for number in range(64) if number != 37]


async def test_a_list_that_comes_back_short_is_halved_too() -> None:
    """A function that leaves out what it does not like: the others get their own results, and none another's."""
    found = await lists(lambda payloads: [10 * one for one in payloads if one != 5]).ask_many(
        [(number,) for number in range(8)]
    )
    assert [one for one in found if not isinstance(one, Failure)] == [0, 10, 20, 30, 40, 60, 70]
    assert "returned 0 results for 1 events" in str(found[5].error)


async def test_a_list_that_takes_too_long_is_halved_too() -> None:
    clock, calls = ManualClock(), []

    async def slow(payloads: list[int]) -> list[int]:
        calls.append(payloads)
        return await never(payloads) if 2 in payloads else payloads

    many = ListCaller(slow, (), clock=clock, max=64, coroutine=True, timeout=1.0)
    asking = asyncio.ensure_future(many.ask_many([(number,) for number in range(4)]))
    while not asking.done():
        for _ in range(20):
            await asyncio.sleep(0)
        clock.advance(1.0)
    found = asking.result()
    assert [found[0], found[1], found[3]] == [0, 1, 3]
    assert isinstance(found[2].error, TimeoutError)
    assert calls == [[0, 1, 2, 3], [0, 1], [2, 3], [2], [3]]


async def test_an_outage_that_begins_while_a_list_is_halved_keeps_what_is_known() -> None:
    calls: list[list[int]] = []

    def fails(payloads: list[int]) -> list[int]:
        calls.append(payloads)
        if len(payloads) > 2:
            raise ValueError("all of them")
        if 3 in payloads:
            raise Unavailable("bank", "down")
        return payloads

    found = await lists(fails).ask_many([(number,) for number in range(4)])
    assert found[:2] == [0, 1]
    assert [type(one.error) for one in found[2:]] == [Unavailable] * 2
    assert calls == [[0, 1, 2, 3], [0, 1], [2, 3]]


async def test_a_list_has_one_result_for_each() -> None:
    answer = await lists(lambda payloads: payloads[:-1]).ask_many([(1,)])
    assert str(answer[0].error) == "a function of lists returned 0 results for 1 events: return one for each, in order"


async def test_who_gave_up_waiting_is_left_out() -> None:
    many = lists(Lists().later, coroutine=True)
    first, second = asyncio.ensure_future(many.ask((1,))), asyncio.ensure_future(many.ask((2,)))
    first.cancel()
    assert await second == 20


# -- helpers with a default, within a budget -----------------------------------------------------------------------


class Slow:
    def question(self, payload: Any) -> Any:
        return payload

    async def ask(self, question: Any) -> Any:
        return await never(question) if question == "slow" else question

    async def ask_many(self, questions: Sequence[Any]) -> list[Any]:
        return [await self.ask(question) for question in questions]


async def test_a_helper_that_is_late_is_its_default() -> None:
    clock = ManualClock()
    bounded = Bounded(Slow(), "d", clock)
    assert await bounded.ask("quick", 5.0) == "quick"
    assert await bounded.ask_many(["quick", "quick"], 5.0) == ["quick", "quick"]
    assert await until(clock, 5.0, bounded.ask("slow", 5.0)) == "d"
    assert await until(clock, 5.0, bounded.ask_many(["quick", "slow"], 10.0)) == ["d", "d"]
