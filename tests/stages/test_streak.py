"""Third parties that meet nobody: an event's own failure, an outage, and no outage for ever."""

from __future__ import annotations

import pytest

from penstock import Unavailable
from penstock.pipeline.clock import ManualClock
from penstock.stages.caller import Caller
from penstock.stages.streak import HOLD, QUESTIONS, Streak, unreachable


class Bank:
    """A third party, and the function that asks it."""

    def __init__(self) -> None:
        self.away: Exception | None = ConnectionRefusedError("nobody there")
        self.asked = 0

    async def ask(self, payload: str) -> str:
        self.asked += 1
        if self.away is not None:
            raise self.away
        return payload.upper()


def caller(bank: Bank, clock: ManualClock, **options: object) -> Caller:
    return Caller(bank.ask, (), clock=clock, coroutine=True, name="bank", **options)  # type: ignore[arg-type]


async def told(one: Caller, question: str) -> str:
    try:
        return str(await one.ask((question,)))
    except Exception as error:
        return type(error).__name__


async def test_several_questions_and_a_probe() -> None:
    bank, clock = Bank(), ManualClock()
    one = caller(bank, clock)
    assert [await told(one, "a") for _ in range(5)] == ["ConnectionRefusedError"] * 5, "one event's own"
    for question in "bc":
        assert await told(one, question) == "ConnectionRefusedError"
    with pytest.raises(Unavailable, match=r"^bank\(\): ConnectionRefusedError: nobody there$"):
        await one.ask(("d",))
    assert await told(one, "a") == "Unavailable"
    bank.away = None
    assert [await told(one, question) for question in "ab"] == ["A", "B"]
    bank.away = TimeoutError()
    assert await told(one, "a") == "TimeoutError", "it begins anew"


async def test_an_answer_in_between_is_no_row() -> None:
    bank, clock = Bank(), ManualClock()
    one = caller(bank, clock)
    for number in range(5 * QUESTIONS):
        assert await told(one, f"bad{number}") == "ConnectionRefusedError"
        if number % QUESTIONS == QUESTIONS - 1:
            bank.away = None
            await one.ask(("good",))
            bank.away = ConnectionRefusedError()


async def test_no_outage_for_ever() -> None:
    bank, clock = Bank(), ManualClock()
    one = caller(bank, clock)
    for question in "abcd":
        await told(one, question)
    clock.advance(HOLD - 1)
    assert await told(one, "a") == "Unavailable"
    clock.advance(1)
    assert [await told(one, question) for question in "ae"] == ["ConnectionRefusedError"] * 2
    bank.away = None
    assert await told(one, "a") == "A"
    bank.away = ConnectionRefusedError()
    assert [await told(one, question) for question in "abcd"][-1] == "Unavailable"


async def test_other_failures_and_defaults_are_no_outage() -> None:
    bank, clock = Bank(), ManualClock()
    bank.away = ValueError("wrong")
    one, other = caller(bank, clock), caller(bank, clock, default="none")
    assert {await told(one, f"{number}") for number in range(10)} == {"ValueError"}
    bank.away = TimeoutError()
    assert {await told(other, f"{number}") for number in range(10)} == {"none"}


def test_whom_nobody_answered() -> None:
    from aiohttp import ClientConnectionError, ClientResponseError, ServerDisconnectedError

    assert all(
        map(unreachable, (TimeoutError(), BrokenPipeError(), ClientConnectionError(), ServerDisconnectedError()))
    )
    assert not any(map(unreachable, (KeyError(), OSError(), PermissionError())))
    assert not issubclass(ClientResponseError, ClientConnectionError)
    streak = Streak("x()", ManualClock())
    error = KeyError()
    assert streak.judge("a", error) is error and not streak.failed
