"""Whether one type fits another, which fields it has, how it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, NewType, Optional, Protocol, TypedDict, TypeVar, Union

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import Event
from penstock.pipeline.declaration.annotations import (
    admits_none,
    either,
    element,
    field_type,
    fields,
    fits,
    has,
    known,
    label,
    labels,
    members,
    without_none,
)
from tests.pipeline.shop import Login, Owner, Payment, Profile

CardId = NewType("CardId", str)
T = TypeVar("T")


class Named(Protocol):
    name: str


class Typed(TypedDict):
    card: str


class Other(TypedDict):
    card: str


class Pair(NamedTuple):
    card: str
    amount: float


class Model(pydantic.BaseModel):
    card: str


@dataclass
class Data:
    card: str
    _hidden: int = 0


class Special(Data):
    """A kind of `Data`."""


def of(kind: Any, *inside: Any) -> Any:
    """A generic type of types that are known only when the test runs."""
    only, *more = inside
    return kind[inside if more else only]


PLAIN = st.sampled_from(
    [int, float, str, bytes, bool, type(None), Payment, Profile, Data, Special, Typed, Pair, Model, Named, CardId]
)
ANY = st.sampled_from([Any, object, T])
TYPES = st.recursive(
    PLAIN | ANY | st.sampled_from([Literal["a", "b"], Literal[1], Annotated[int, "cents"], Callable[[int], str]]),
    lambda inner: st.one_of(
        inner.map(lambda one: of(list, one)),
        inner.map(lambda one: of(Sequence, one)),
        st.tuples(inner, inner).map(lambda pair: of(dict, *pair)),
        st.tuples(inner, inner).map(lambda pair: of(tuple, *pair)),
        st.tuples(inner, inner).map(lambda pair: of(Union, *pair)),
    ),
    max_leaves=5,
)


@given(TYPES)
def test_every_type_fits_itself_and_anything(kind: Any) -> None:
    assert fits(kind, kind)
    assert fits(kind, Any)
    assert fits(Any, kind)
    assert fits(kind, object)


@given(TYPES, TYPES)
def test_a_type_fits_every_union_it_is_in(one: Any, other: Any) -> None:
    assert fits(one, of(Union, one, other))
    assert fits(other, of(Union, one, other))


@given(TYPES, TYPES, TYPES)
def test_a_union_fits_where_all_its_members_do(one: Any, other: Any, wanted: Any) -> None:
    assert fits(of(Union, one, other), wanted) == (fits(one, wanted) and fits(other, wanted))


@given(TYPES, TYPES)
def test_a_list_fits_where_its_elements_do(one: Any, other: Any) -> None:
    assert fits(of(list, one), of(list, other)) == fits(one, other)
    assert fits(of(list, one), of(Sequence, other)) == fits(one, other)
    assert fits(of(list, one), of(Iterable, other)) == fits(one, other)


@given(TYPES)
def test_every_type_can_be_written_and_looked_into(kind: Any) -> None:
    assert label(kind)
    assert all(isinstance(name, str) for name in known(kind))
    assert isinstance(has(kind, "card"), bool)
    assert members(kind)
    element(kind)


@given(TYPES, TYPES)
def test_a_union_of_two_types_takes_both(one: Any, other: Any) -> None:
    both = either(one, other)
    assert fits(one, both)
    assert fits(other, both)


@pytest.mark.parametrize(
    ("given_", "wanted"),
    [
        (int, float),
        (bool, int),
        (int, complex),
        (int, str | int),
        (int | None, int | str | None),
        (Special, Data),
        (Data, Named),
        (CardId, str),
        (str, CardId),
        (Annotated[int, "cents"], int),
        (Literal["a"], str),
        (str, Literal["a", "b"]),
        (Literal["a"], Literal["a", "b"]),
        (Typed, dict),
        (dict[str, str], Typed),
        (Typed, Mapping[str, str]),
        (Pair, tuple),
        (list, list[int]),
        (list[int], list),
        (list[bool], Sequence[int]),
        (dict[str, int], Mapping[str, float]),
        (None, int | None),
        (type(None), None),
    ],
)
def test_what_fits(given_: Any, wanted: Any) -> None:
    assert fits(given_, wanted)


@pytest.mark.parametrize(
    ("given_", "wanted"),
    [
        (float, int),
        (str, int),
        (int | None, int),
        (Data, Special),
        (Payment, Profile),
        (Literal["a", "c"], Literal["a", "b"]),
        (Literal["a"], int),
        (int, Literal["a"]),
        (list[str], list[int]),
        (list[str], Sequence[int]),
        (dict[str, str], Mapping[str, float]),
        (list[int], int),
        (CardId, int),
        (Payment, Typed),
        (None, int),
        (Optional[int], int),  # noqa: UP045
    ],
)
def test_what_does_not_fit(given_: Any, wanted: Any) -> None:
    assert not fits(given_, wanted)


@pytest.mark.parametrize("kind", [Typed, Model, Data, Special])
def test_the_fields_of_every_kind_of_record(kind: Any) -> None:
    assert fields(kind) == {"card": str}


def test_the_fields_of_structs_and_tuples() -> None:
    assert fields(Owner) == {"id": str}
    assert fields(Pair) == {"card": str, "amount": float}
    assert fields(msgspec.defstruct("Made", [("x", int)])) == {"x": int}


@pytest.mark.parametrize("kind", [int, dict, dict[str, int], list[Payment], Any, Named, "text", None])
def test_what_has_no_fields_that_are_known(kind: Any) -> None:
    assert fields(kind) is None
    assert field_type(kind, "whatever.there") is Any


def test_the_type_at_a_path() -> None:
    assert field_type(Payment, "owner.id") is str
    assert field_type(Payment | Login | dict, "whatever") is Any
    assert field_type(Payment | None, "amount") is float
    assert field_type(Payment | Owner, "id") is Any


@pytest.mark.parametrize(("path", "name"), [("crad", "crad"), ("owner.name", "name"), ("owner.id.more", "more")])
def test_a_path_that_leads_nowhere_names_where_it_ends(path: str, name: str) -> None:
    if path == "owner.id.more":
        assert field_type(Payment, path) is Any
        return
    with pytest.raises(KeyError, match=name):
        field_type(Payment, path)


def test_unions() -> None:
    assert members(int | None) == (int, type(None))
    assert without_none(int | None) == (int,)
    assert (admits_none(int | None), admits_none(int), admits_none(Any), admits_none(None)) == (
        True,
        False,
        False,
        True,
    )


@pytest.mark.parametrize(
    ("kind", "inside"),
    [
        (list[int], int),
        (Sequence[int], int),
        (tuple[int, ...], int),
        (tuple[int, str], Any),
        (set[int], int),
        (list, Any),
        (Any, Any),
        (str, None),
        (dict[str, int], None),
        (int, None),
        (Payment, None),
        (int | str, None),
    ],
)
def test_what_a_list_holds(kind: Any, inside: Any) -> None:
    assert element(kind) is inside


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (int, "int"),
        (None, "None"),
        (int | None, "int | None"),
        (Optional[int], "int | None"),  # noqa: UP045
        (list[Payment | None], "list[Payment | None]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (Callable[[int, str], bool], "Callable[[int, str], bool]"),
        (Literal["a", 1], "Literal['a', 1]"),
        (Any, "Any"),
        (CardId, "CardId"),
        (Event, "Event"),
        (T, "T"),
    ],
)
def test_types_are_written_as_people_write_them(kind: Any, text: str) -> None:
    assert label(kind) == text


def test_types_that_read_the_same_are_told_apart() -> None:
    theirs = msgspec.defstruct("Payment", [("id", str)], module="elsewhere")
    assert labels(Payment, theirs) == ("tests.pipeline.shop.Payment", "elsewhere.Payment")
    assert labels(Payment, int) == ("Payment", "int")
    assert labels(Payment | None, Payment | None) == ("Payment | None", "Payment | None")
