"""Rows of a store become typed values, and what cannot says which field and why."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct, defstruct
from pydantic import BaseModel

from penstock.stages.row import ABSENT, Mapped, Record, json_reader


class Kind(enum.Enum):
    GOLD = "gold"


class Address(Struct):
    city: str


class Card(Struct, frozen=True):
    holder: str
    mean: float
    limit: int = 500
    active: bool = True
    note: str | None = None
    kind: Kind = Kind.GOLD
    opened: date = date(2020, 1, 1)
    tags: list[str] = []
    address: Address | None = None
    raw: bytes = b""


FULL = [b"Ann", b"41.5", b"7", b"0", b"x", b"gold", b"2024-02-29", b'["a","b"]', b'{"city":"Bern"}', b"\xff"]


def test_every_field_by_its_type() -> None:
    whole = Card("Ann", 41.5, 7, False, "x", Kind.GOLD, date(2024, 2, 29), ["a", "b"], Address("Bern"), b"\xff")
    assert Record[Card](Card).read(FULL) == whole
    assert Record(Card).names[:3] == ["holder", "mean", "limit"]


def test_missing_fields_take_their_defaults() -> None:
    assert Record(Card).read([b"Ann", b"1", *[None] * 8]) == Card("Ann", 1.0)


def test_a_hash_without_any_of_the_fields_is_absent() -> None:
    assert Record(Card).read([None] * 10) is ABSENT


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        (1, b"much", "its field 'mean' is 'much': Expected `float`"),
        (1, b"1,2", "its field 'mean' is '1,2'"),
        (1, None, "it has no field 'mean', and Card has no default for it"),
        (0, b"\xff", "its field 'holder' is"),
        (2, b"1.5", "its field 'limit' is '1.5': Expected `int`"),
        (5, b"lead", "its field 'kind' is 'lead': Invalid enum value 'lead'"),
        (7, b"a,b", "its field 'tags' is 'a,b': JSON is malformed"),
    ],
)
def test_what_does_not_fit_is_named(at: int, value: bytes | None, said: str) -> None:
    row: list[bytes | None] = list(FULL)
    row[at] = value
    with pytest.raises(ValueError, match="^" + said.replace("[", r"\[")):
        Record(Card).read(row)


def test_other_names_in_the_store_and_keywords() -> None:
    class Renamed(Struct, rename="camel", kw_only=True):
        mean_amount: float
        last_seen: float

    assert Record(Renamed).names == ["meanAmount", "lastSeen"]
    assert Record(Renamed).read([b"1", b"2"]) == Renamed(mean_amount=1.0, last_seen=2.0)


def test_constraints_hold() -> None:
    class Bounded(Struct):
        share: Annotated[float, Meta(ge=0, le=1)]
        name: Annotated[str, Meta(max_length=3)] = "abc"

    assert Record(Bounded).read([b"0.5", None]) == Bounded(0.5)
    with pytest.raises(ValueError, match="field 'share' is '2'"):
        Record(Bounded).read([b"2", b"ab"])
    with pytest.raises(ValueError, match="field 'name' is 'abcd'"):
        Record(Bounded).read([b"1", b"abcd"])


def test_a_class_that_refuses_its_values() -> None:
    class Picky(Struct):
        low: float
        high: float

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError("low is above high")

    assert Record(Picky).read([b"1", b"2"]) == Picky(1.0, 2.0)
    with pytest.raises(ValueError, match="Picky refuses its fields: low is above high"):
        Record(Picky).read([b"2", b"1"])
    assert Record(Picky).read_many([[b"1", b"2"], [b"2", b"1"]]) is None


def test_dataclasses() -> None:
    @dataclass
    class Profile:
        mean: float
        seen: list[float] = field(default_factory=list)
        derived: float = field(init=False, default=0.0)
        name: str = field(kw_only=True, default="?")

    assert Record(Profile).names == ["mean", "seen", "name"]
    assert Record(Profile).read([b"1", b"[1, 2]", None]) == Profile(1.0, [1.0, 2.0])
    assert Record(Profile).read([b"1", b"[]", b"Ann"]) == Profile(1.0, name="Ann")


def test_pydantic_models() -> None:
    class Model(BaseModel):
        mean: float
        holder: str | None
        count: int = 3

    assert Record(Model).read([b"1.5", None, None]) == Model(mean=1.5, holder=None)
    with pytest.raises(ValueError, match="field 'mean'"):
        Record(Model).read([b"x", None, None])
    assert json_reader(Model)(b'{"mean": 1, "holder": "Ann"}') == Model(mean=1.0, holder="Ann")


Numbers: Any = defstruct("Numbers", [("a", float), ("b", int), ("c", float)])


@given(st.lists(st.tuples(st.floats(), st.integers(-(2**63), 2**63 - 1), st.floats()), min_size=1, max_size=5))
def test_numbers_survive_exactly(rows: list[tuple[float, int, float]]) -> None:
    kept = [[str(value).encode() for value in row] for row in rows]
    record: Record[Any] = Record(Numbers)
    many = record.read_many(kept)
    one_by_one = [record.read(row) for row in kept]
    for values in (one_by_one, many or one_by_one):
        for row, value in zip(rows, values, strict=True):
            for expected, found in zip(row, (value.a, value.b, value.c), strict=True):
                assert found == expected or (math.isnan(expected) and math.isnan(found))


PARTS = st.sampled_from([b"1", b",", b"]", b"[", b'"', b" ", b"\\", b"2", b"null", b".5", b"-", b"e"])


@given(st.lists(st.lists(st.lists(PARTS, max_size=6).map(b"".join) | st.none(), min_size=3, max_size=3), max_size=4))
def test_no_value_passes_for_another(rows: list[list[bytes | None]]) -> None:
    """Whatever lies in a field, rows read together are what they are one field at a time, or not read together."""
    record: Record[Any] = Record(Numbers)
    many = record.read_many(rows)
    for at, row in enumerate(rows):
        try:
            careful = record._careful(row)
        except ValueError:
            assert many is None
            with pytest.raises(ValueError, match="field"):
                record.read(row)
        else:
            assert record.read(row) == careful
            assert many is None or many[at] == careful


def test_whole_hashes() -> None:
    assert Mapped[float](float).read({b"EUR": b"1", "é".encode(): b"2.5"}) == {"EUR": 1.0, "é": 2.5}
    assert Mapped[Any](list[int]).read({b"a": b"[1]"}) == {"a": [1]}
    assert Mapped(str).read({}) is ABSENT
    with pytest.raises(ValueError, match="its field 'USD' is 'x'"):
        Mapped(float).read({b"EUR": b"1", b"USD": b"x"})


def test_json_and_plain_text() -> None:
    assert json_reader(str)(b"gold") == "gold"
    assert json_reader(bytes)(b"\xff") == b"\xff"
    assert json_reader(list[int])(b"[1, 2]") == [1, 2]
