"""Options around a function: what `call` and `batched` keep, and what they refuse."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from penstock import DeclarationError, Retries, batched, call
from penstock.errors import Where
from penstock.stages.function import MISSING, inner, length


def double(number: int, times: int = 1) -> int:
    return number << times


def doubles(numbers: list[int], times: list[int]) -> list[int]:
    return [double(number, one) for number, one in zip(numbers, times, strict=True)]


def test_call_keeps_its_options_and_is_called_like_the_function() -> None:
    found = call(double, timeout="50ms", default=0, cache=timedelta(minutes=1), thread=True, retry=Retries(attempts=2))
    assert (found.timeout, found.default, found.cache, found.thread) == (0.05, 0, 60.0, True)
    assert found(4, times=2) == 16
    assert inner(found) is double
    assert call(double).default is MISSING
    assert repr(MISSING) == "..."


def test_batched_is_called_with_one_event() -> None:
    found = batched(doubles, max=8, timeout="1s", thread=True)
    assert (found.max, found.timeout, found.thread) == (8, 1.0, True)
    assert found(4, times=2) == 16
    assert inner(found) is doubles


def refused(make: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(DeclarationError) as found:
        make(*arguments, **options)
    assert found.value.where is not None
    assert found.value.where.file == __file__
    return found.value.message


PAST = timedelta(seconds=-1)
SOON = """'soon' is not a length of time: write for example "250ms", "10s", "5m", "24h", "7d\""""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"timeout": "soon"}, f"call(..., timeout=): {SOON}"),
        ({"cache": "soon"}, f"call(..., cache=): {SOON}"),
        ({"timeout": "0s"}, "call(..., timeout=): '0s' is no time at all: leave it out, or write for example '250ms'"),
        (
            {"timeout": PAST},
            f"call(..., timeout=): {PAST!r} is no time at all: leave it out, or write for example '250ms'",
        ),
        ({"retry": 3}, "call(..., retry=3): write Retries(attempts=3, first='100ms', longest='10s')"),
    ],
)
def test_options_of_call_that_make_no_sense(options: dict[str, Any], said: str) -> None:
    assert refused(call, double, **options) == said


@pytest.mark.parametrize("most", [0, -1, "64", 1.5, True])
def test_a_list_has_room_for_one(most: Any) -> None:
    assert (
        refused(batched, doubles, max=most)
        == f"batched(..., max={most!r}): it is the most events of one call, at least 1"
    )


def test_a_time_out_of_batched_is_a_length_of_time() -> None:
    assert refused(batched, doubles, timeout="soon") == f"batched(..., timeout=): {SOON}"


def test_options_are_given_once() -> None:
    said = "{}() is given what {}() returned: one of them is enough, with all options"
    assert refused(call, call(double)) == said.format("call", "call")
    assert refused(call, batched(doubles)) == said.format("call", "batched")
    assert refused(batched, call(double)) == said.format("batched", "call")


def test_they_are_given_functions() -> None:
    assert refused(call, 7) == "call() is given 7: give it a function"
    assert refused(batched, "doubles") == "batched() is given 'doubles': give it a function"


def test_a_length_of_time() -> None:
    assert (length("timeout", None), length("timeout", "1m")) == (None, 60.0)


def test_a_mistake_has_the_line_of_the_call() -> None:
    with pytest.raises(DeclarationError) as found:
        call(double, timeout="soon")
    assert found.value.where == Where(__file__, test_a_mistake_has_the_line_of_the_call.__code__.co_firstlineno + 2)
