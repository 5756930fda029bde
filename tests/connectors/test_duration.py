"""Lengths of time as people write them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.connectors.duration import seconds

UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@given(st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(sorted(UNITS))), min_size=1, max_size=4))
def test_parts_add_up(parts: list[tuple[int, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in parts)
    assert seconds(text) == pytest.approx(sum(number * UNITS[unit] for number, unit in parts))


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=10_000)))
def test_a_timedelta_is_what_it_is(length: timedelta) -> None:
    assert seconds(length) == length.total_seconds()


@given(st.decimals(0, 10**6, places=3))
def test_fractions(number: Any) -> None:
    assert seconds(f"{number}s") == float(number)


@pytest.mark.parametrize("text", ["", "soon", "10", "-1s", "1s ", "1 s", "1S", "s", "1s,2s", "1..5s", "1e3s"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(ValueError, match="is not a length of time: write for example"):
        seconds(text)


@pytest.mark.parametrize("given_", [10, 1.5, None, ["1s"]])
def test_what_is_not_even_text(given_: Any) -> None:
    with pytest.raises(ValueError, match="is not a length of time"):
        seconds(given_)
