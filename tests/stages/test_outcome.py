"""Retries: how often, how long in between, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import DeclarationError, Reject, Retries, Retry
from penstock.connectors.duration import seconds

MOMENTS = st.integers(min_value=0, max_value=10_000_000).map(lambda micro: timedelta(microseconds=micro))


@given(MOMENTS, MOMENTS, st.integers(min_value=1, max_value=100_000), st.floats(0, 1, exclude_max=True))
def test_a_wait_is_at_most_the_longest_and_at_least_half_of_its_step(
    one: timedelta, other: timedelta, attempt: int, chance: float
) -> None:
    retries = Retries(first=min(one, other), longest=max(one, other))
    whole = min(seconds(retries.longest), seconds(retries.first) * 2.0 ** min(attempt - 1, 40))
    assert whole / 2 <= retries.delay(attempt, chance) <= whole


@given(st.integers(min_value=1, max_value=2000), st.floats(0, 1, exclude_max=True))
def test_waits_grow(attempt: int, chance: float) -> None:
    retries = Retries(attempts=3000, first="10ms", longest="1h")
    assert retries.delay(attempt, chance) <= retries.delay(attempt + 1, chance)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"attempts": 0}, "Retries(attempts=0): it counts every try, so it is at least 1"),
        ({"attempts": "3"}, "Retries(attempts='3'): it counts every try, so it is at least 1"),
        (
            {"first": "soon"},
            """Retries(first=): 'soon' is not a length of time: write for example "250ms", "10s", "5m", "24h", "7d\"""",
        ),
        (
            {"longest": 7},
            """Retries(longest=): 7 is not a length of time: write for example "250ms", "10s", "5m", "24h", "7d\"""",
        ),
        (
            {"first": timedelta(seconds=-1)},
            "Retries(first=datetime.timedelta(days=-1, seconds=86399)): a wait is not negative",
        ),
        (
            {"first": "1m"},
            "Retries(first='1m', longest='10s'): waits grow from first to longest, so first is the shorter one",
        ),
        ({"on": "TimeoutError"}, "Retries(on='TimeoutError'): name exception classes, for example on=TimeoutError"),
        (
            {"on": (TimeoutError, BaseException)},
            "Retries(on=<class 'BaseException'>): name exception classes, for example on=TimeoutError",
        ),
    ],
)
def test_retries_that_make_no_sense(options: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        Retries(**options)
    assert refused.value.message == said
    assert refused.value.where is not None
    assert refused.value.where.file == __file__


def test_what_a_function_can_say() -> None:
    assert Reject("no such card").reason == "no such card"
    assert Retry("250ms").after == 0.25
    assert str(Retry(timedelta(seconds=2))) == "again after 0:00:02"
