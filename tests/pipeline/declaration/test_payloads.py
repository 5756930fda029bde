# Functions here are only declared.
# mypy: disable-error-code="empty-body"
"""What a declaration may say about payloads: schemas, keys, identities, event times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import msgspec
import pydantic
import pytest

from penstock import Pipeline
from tests.pipeline.mistakes import mistake
from tests.pipeline.shop import IN, Login, Logout, Payment, Refund

if TYPE_CHECKING:
    from decimal import Decimal


class Typed(TypedDict):
    card: str


class Named(NamedTuple):
    card: str


class Pydantic(pydantic.BaseModel):
    card: str


@dataclass
class Data:
    card: str


class Plain:
    card: str


class Holding(msgspec.Struct):
    card: str
    insides: list[Plain]


class Recursive(msgspec.Struct):
    card: str
    children: list[Recursive]


class Guarded(msgspec.Struct):
    card: str
    price: Decimal


@pytest.mark.parametrize(
    "schema", [Payment, Typed, Named, Pydantic, Data, Recursive, Payment | None, dict[str, Any], dict[str, float], Any]
)
def test_schemas_that_json_can_become(schema: Any) -> None:
    pipeline = Pipeline("demo")
    pipeline.source(IN, schema=schema, key="card").end()
    assert pipeline.build().node(0).payload == schema


@mistake(
    "schema= Plain is a plain class: make it a msgspec Struct or a dataclass, or say how bytes become one with decode="
)
def test_a_plain_class_is_no_schema(p: Any) -> None:
    p.source(IN, schema=Plain).end()  # <>


@mistake(
    "schema= Holding holds Plain, which is a plain class: make it a msgspec Struct or a dataclass, "
    "or say how bytes become one with decode="
)
def test_nor_is_what_holds_one(p: Any) -> None:
    p.source(IN, schema=Holding).end()  # <>


@mistake(
    "schema= Payment | Refund: JSON does not tell these types apart, so declare each with a tag, "
    "class Refund(Struct, tag=True)"
)
def test_a_union_that_cannot_be_told_apart(p: Any) -> None:
    p.source(IN, schema=Payment | Refund).end()  # <>


@mistake("schema= Guarded cannot be read from JSON: name 'Decimal' is not defined")
def test_a_schema_whose_fields_only_a_type_checker_knows(p: Any) -> None:
    p.source(IN, schema=Guarded).end()  # <>


# -- decode --------------------------------------------------------------------------------------------------------


def decoded(raw: bytes) -> Plain: ...


def test_what_decode_returns_may_be_anything() -> None:
    pipeline = Pipeline("demo")
    pipeline.source(IN, schema=Plain, decode=decoded, key=lambda plain: plain.card).end()
    assert pipeline.build().node(0).payload is Plain


@mistake("decode= returns Plain, but schema= is Payment")
def test_decode_returns_the_schema(p: Any) -> None:
    p.source(IN, schema=Payment, decode=decoded).end()  # <>


@mistake("decode= is 'json': give a function from bytes to Payment")
def test_decode_is_a_function(p: Any) -> None:
    p.source(IN, schema=Payment, decode="json").end()  # <>


# -- key and id ----------------------------------------------------------------------------------------------------


@mistake("key= Payment has no field 'crad': did you mean 'card'?")
def test_a_key_is_a_field(p: Any) -> None:
    p.source(IN, schema=Payment, key="crad").end()  # <>


@mistake("id= Payment has no field 'number'; it has amount, at, card, id, owner")
def test_an_identity_is_a_field(p: Any) -> None:
    p.source(IN, schema=Payment, id=("card", "number")).end()  # <>


@mistake("key= Payment has no field 'name'; it has amount, at, card, id, owner")
def test_a_field_of_a_field(p: Any) -> None:
    p.source(IN, schema=Payment, key="owner.name").end()  # <>


@mistake("key= Login | Logout has no field 'card'; it has user")
def test_a_key_is_a_field_of_every_member(p: Any) -> None:
    p.source(IN, schema=Login | Logout, key="card").end()  # <>


@mistake("key= is 7: it is a field ('card'), a tuple of fields or a function of the payload")
def test_a_key_is_no_number(p: Any) -> None:
    p.source(IN, schema=Payment, key=7).end()  # <>


@mistake("key= is (): it is a field ('card'), a tuple of fields or a function of the payload")
def test_a_key_is_something(p: Any) -> None:
    p.source(IN, schema=Payment, key=()).end()  # <>


@mistake("key= 7 is no field: write its name, for example 'card'")
def test_a_key_of_numbers(p: Any) -> None:
    p.source(IN, schema=Payment, key=("card", 7)).end()  # <>


def key_of_both(payment: Payment, other: Payment) -> str: ...
def key_of_refund(refund: Refund) -> str: ...
async def key_of_later(payment: Payment) -> str: ...


@mistake("key= key_of_both() is called with the payload alone: it takes one argument")
def test_a_key_function_takes_the_payload_alone(p: Any) -> None:
    p.source(IN, schema=Payment, key=key_of_both).end()  # <>


@mistake("id= key_of_refund() takes Refund, but the payload is Payment")
def test_a_key_function_takes_this_payload(p: Any) -> None:
    p.source(IN, schema=Payment, id=key_of_refund).end()  # <>


@mistake("key= key_of_later() is a coroutine function: a key is read with a plain one")
def test_a_key_function_is_plain(p: Any) -> None:
    p.source(IN, schema=Payment, key=key_of_later).end()  # <>


def test_a_key_function() -> None:
    pipeline = Pipeline("demo")
    pipeline.source(IN, schema=Payment, key=lambda payment: payment.card, id=str).end()
    assert len(pipeline.build().nodes) == 2


# -- time ----------------------------------------------------------------------------------------------------------


class Timed(msgspec.Struct):
    text: str
    moment: datetime
    seconds: int | None = None


@mistake("time= Payment has no field 'att': did you mean 'at'?")
def test_event_time_is_a_field(p: Any) -> None:
    p.source(IN, schema=Payment, time="att").end()  # <>


@mistake("time= 'text' is str: event time is seconds since the epoch, so name a number")
def test_event_time_is_a_number(p: Any) -> None:
    p.source(IN, schema=Timed, time="text").end()  # <>


@mistake(
    "time= 'moment' is datetime: event time is seconds since the epoch, so declare the field as a number, "
    "or compute one in decode="
)
def test_event_time_is_not_a_datetime(p: Any) -> None:
    p.source(IN, schema=Timed, time="moment").end()  # <>


@pytest.mark.parametrize(("schema", "time"), [(Timed, "seconds"), (Payment, "at"), (dict[str, Any], "whatever")])
def test_fields_that_tell_the_time(schema: Any, time: str) -> None:
    pipeline = Pipeline("demo")
    pipeline.source(IN, schema=schema, time=time).end()
    assert len(pipeline.build().nodes) == 2
