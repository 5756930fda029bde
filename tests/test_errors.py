"""Errors, and the user's line that a mistake in a declaration begins with."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from penstock import (
    BadEvent,
    ConfigError,
    DeclarationError,
    PenstockError,
    Reject,
    Retries,
    Retry,
    Unavailable,
    Undeliverable,
)
from penstock.connectors import Mqtt
from penstock.errors import Where
from penstock.stages import lookup


@pytest.mark.parametrize(
    "error",
    [
        DeclarationError("d"),
        ConfigError("c"),
        Unavailable("store", "gone"),
        BadEvent("bad"),
        Undeliverable("u"),
        Reject("r"),
        Retry("1s"),
    ],
)
def test_everything_raised_on_purpose_is_one_kind(error: Exception) -> None:
    assert isinstance(error, PenstockError)


def test_a_mistake_names_the_line_that_called_penstock() -> None:
    with pytest.raises(DeclarationError) as refused:
        lookup("card:{card", float)
    line = test_a_mistake_names_the_line_that_called_penstock.__code__.co_firstlineno + 2
    assert refused.value.where == Where(__file__, line)
    assert str(refused.value) == f"{__file__}:{line}: {refused.value.message}"


@pytest.mark.parametrize("make", [lambda: Retries(attempts=0), lambda: Mqtt("a", qos=2)])
def test_also_where_a_dataclass_stands_between(make: object) -> None:
    assert callable(make)
    with pytest.raises(DeclarationError) as refused:
        make()
    assert refused.value.where is not None
    assert refused.value.where.file == __file__


def test_a_given_place_is_kept() -> None:
    error = DeclarationError("this is wrong", Where("app.py", 7))
    assert (str(error), error.message, error.where) == ("app.py:7: this is wrong", "this is wrong", Where("app.py", 7))


def test_a_library_is_no_place_to_send_anybody_to() -> None:
    with ThreadPoolExecutor() as pool:
        error = pool.submit(DeclarationError, "found in the middle of nothing").result()
    assert (str(error), error.where) == ("found in the middle of nothing", None)


def test_what_an_outage_and_a_bad_event_tell() -> None:
    outage = Unavailable("store", "connection refused")
    assert (str(outage), outage.dependency, outage.reason) == (
        "store: connection refused",
        "store",
        "connection refused",
    )
    bad = BadEvent("no number", path="$.amount", status=422)
    assert (str(bad), bad.path, bad.status) == ("no number", "$.amount", 422)
