"""From features of any type to the row a model takes, or the event's own error."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, make_dataclass
from decimal import Decimal
from typing import Any, NamedTuple, TypedDict

import msgspec
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import BadEvent, DeclarationError
from penstock.models.manifest import Input
from penstock.models.rows import RowMaker


class InOrder(msgspec.Struct):
    amount: float
    age: float
    trusted: bool


class OutOfOrder(msgspec.Struct):
    trusted: bool
    age: int
    amount: float


@dataclass
class Record:
    age: float
    amount: float
    trusted: bool


class Tuple(NamedTuple):
    trusted: bool
    amount: float
    age: float


class Dict(TypedDict):
    amount: float
    age: float
    trusted: bool


Single = TypedDict("Single", {"class": float})

INPUTS = [Input("amount"), Input("age"), Input("trusted")]
MIXED = [Input("amount"), Input("country", "string"), Input("age", missing=True)]


def packed(*values: float) -> bytes:
    return struct.pack("3f", *values)


@pytest.mark.parametrize(
    ("kind", "features"),
    [
        (InOrder, InOrder(2.5, 40, True)),
        (OutOfOrder, OutOfOrder(True, 40, 2.5)),
        (Record, Record(40, 2.5, True)),
        (Tuple, Tuple(True, 2.5, 40)),
        (Dict, {"amount": 2.5, "age": 40, "trusted": True}),
        (dict, {"age": 40, "trusted": True, "amount": 2.5}),
        (dict[str, float], {"age": 40, "trusted": True, "amount": 2.5}),
        (list, [2.5, 40, True]),
        (tuple[float, float, bool], (2.5, 40, True)),
        (tuple[float, ...], (2.5, 40, True)),
        (Sequence[float], (2.5, 40, 1)),
        (numpy.ndarray, numpy.array([2.5, 40, 1])),
        (list, [Decimal("2.5"), numpy.float32(40), numpy.int64(1)]),
    ],
)
def test_every_kind_of_features_becomes_the_same_row(kind: Any, features: Any) -> None:
    maker = RowMaker("fraud@1", INPUTS, packed=True)
    assert maker.row_for(kind)(features) == packed(2.5, 40, 1)
    assert maker.row_for(Any)(features) == packed(2.5, 40, 1)


def test_missing_and_extra_names_are_refused_with_both_lists() -> None:
    class Wrong(msgspec.Struct):
        amount: float
        agee: float
        trusted: bool

    with pytest.raises(DeclarationError) as caught:
        RowMaker("fraud@1", INPUTS, packed=True).row_for(Wrong)
    assert caught.value.message == (
        "Wrong does not fit: fraud@1 takes amount, age, trusted; the features are amount, agee, trusted; "
        "missing: age; left over: agee"
    )


def test_what_is_only_known_when_it_comes_is_refused_then() -> None:
    maker = RowMaker("fraud@1", INPUTS, packed=True)
    with pytest.raises(BadEvent, match=r"missing: age, trusted; left over: agee"):
        maker.row_for(dict)({"amount": 1, "agee": 2})
    with pytest.raises(BadEvent, match=r"left over: more"):
        maker.row_for(dict)({"amount": 1, "age": 2, "trusted": 0, "more": 1})
    with pytest.raises(BadEvent, match=r"takes 3 values \(amount, age, trusted\), and the row has 2"):
        maker.row_for(list)([1, 2])
    with pytest.raises(BadEvent, match=r"takes 3 values .* and the row has 4"):
        maker.row_for(Any)((1, 2, 3, 4))
    with pytest.raises(BadEvent, match=r"cannot take features of type NoneType"):
        maker.row_for(Any)(None)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (tuple[float, float], r"has 2 values, and fraud@1 takes 3: amount, age, trusted"),
        (int, r"cannot take features of type int: give a Struct"),
        (str, r"cannot take features of type str"),
    ],
)
def test_types_that_cannot_fit_are_refused(kind: Any, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        RowMaker("fraud@1", INPUTS, packed=True).row_for(kind)


def test_a_text_where_a_number_belongs_is_refused_by_its_annotation() -> None:
    class Texts(msgspec.Struct):
        amount: str
        age: float
        trusted: bool

    with pytest.raises(DeclarationError, match=r"Texts.amount is str, and fraud@1 takes a number there"):
        RowMaker("fraud@1", INPUTS, packed=True).row_for(Texts)


@pytest.mark.parametrize("is_packed", [True, False])
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "None, and has to be a number"),
        ("12", r"'12' \(str\), and has to be a number"),
        (b"12", r"b'12' \(bytes\), and has to be a number"),
        ([1.0], r"\[1.0\] \(list\), and has to be a number"),
        pytest.param(10**400, r"10+ \(int\), and has to be a number", id="huge"),
    ],
)
def test_a_value_the_model_cannot_take_names_its_feature(value: Any, shown: str, is_packed: bool) -> None:
    maker = RowMaker("fraud@1", INPUTS, packed=is_packed)
    for kind, features in ((list, [1, value, 0]), (OutOfOrder, OutOfOrder(False, value, 1))):
        with pytest.raises(BadEvent, match=f"fraud@1: feature 'age' is {shown}") as caught:
            maker.row_for(kind)(features)
        assert caught.value.status == 422


def test_numbers_beyond_32_bits_are_refused_when_they_are_looked_at() -> None:
    message = r"feature 'age' is {} \(float\), and has to be a number below 3.4e38 in size"
    for is_packed, shown in ((False, r"1e\+39"), (True, "inf")):
        maker = RowMaker("fraud@1", INPUTS, packed=is_packed)
        row = maker.row_for(list)([1.0, 1e39, 0.0])
        with pytest.raises(BadEvent, match=message.format(shown)):
            maker.explain(maker.unpack(row))


def test_mixed_inputs_keep_their_types() -> None:
    row_for = RowMaker("fraud@1", MIXED, packed=False).row_for
    assert row_for(list)([1, "FR", 3]) == (1.0, "FR", 3.0)
    assert row_for(list)([True, "FR", 3.0]) == (1.0, "FR", 3.0)
    amount, country, age = row_for(list)([1, "FR", None])
    assert (amount, country) == (1.0, "FR")
    assert isinstance(age, float)
    assert math.isnan(age)
    with pytest.raises(BadEvent, match=r"feature 'country' is 3 \(int\), and has to be a text"):
        row_for(list)([1.0, 3, 3.0])
    with pytest.raises(BadEvent, match=r"feature 'age' is 'x' \(str\), and has to be a number or None"):
        row_for(list)([1.0, "FR", "x"])


def test_a_missing_value_is_nan_where_the_model_knows_it() -> None:
    maker = RowMaker("fraud@1", [Input("amount"), Input("age", missing=True)], packed=True)
    amount, age = maker.unpack(maker.row_for(list)([1.0, None]))
    assert amount == 1.0
    assert math.isnan(age)


def test_names_that_are_no_identifiers_are_read_too() -> None:
    maker = RowMaker("fraud@1", [Input("card-age"), Input("class")], packed=True)
    assert maker.row_for(dict)({"class": 2, "card-age": 1}) == struct.pack("2f", 1, 2)
    kind = make_dataclass("Kind", ["other"])
    one = RowMaker("fraud@1", [Input("class")], packed=True)
    assert one.row_for(Single)({"class": 2}) == struct.pack("f", 2)
    with pytest.raises(DeclarationError, match="missing: class; left over: other"):
        one.row_for(kind)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3))
def test_a_row_gives_back_what_it_was_made_of(values: list[float]) -> None:
    maker = RowMaker("fraud@1", INPUTS, packed=True)
    assert list(maker.unpack(maker.row_for(list)(values))) == values


@given(st.lists(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3), min_size=3, max_size=3))
def test_any_values_become_a_row_or_the_events_own_error(values: list[Any]) -> None:
    for is_packed in (True, False):
        maker = RowMaker("fraud@1", INPUTS, packed=is_packed)
        with suppress(BadEvent):
            assert len(maker.unpack(maker.row_for(list)(values))) == 3
