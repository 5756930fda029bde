# Functions here are only declared.
# mypy: disable-error-code="empty-body"
"""What functions may ask for, and that its types fit."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from penstock import DeclarationError, Event, Pipeline
from penstock.pipeline.declaration.wiring import UnresolvedHint, hint
from tests.pipeline.mistakes import mistake
from tests.pipeline.shop import (
    OUT,
    Decision,
    Finding,
    Payment,
    Profile,
    Refund,
    judge,
    many,
    node,
    payments,
    same,
    wired,
)

if TYPE_CHECKING:
    from decimal import Decimal


# -- the first parameter -------------------------------------------------------------------------------------------


def refunded(refund: Refund) -> Refund: ...


@mistake("refunded() takes Refund as refund, but the stream carries Payment")
def test_annotations_that_do_not_fit_are_refused(p: Any) -> None:
    payments(p).transform(refunded).end()  # <>


@mistake(
    "same() takes Payment as payment, but the stream carries list[Payment]: a returned list is one payload; "
    "yield its elements instead"
)
def test_a_returned_list_is_one_payload(p: Any) -> None:
    payments(p).transform(many).transform(same).end()  # <>


def keeps_none(payment: Payment | None) -> bool: ...


@mistake(
    "same() takes Payment as payment, but the stream carries Payment | None: filter out None before it, "
    "or accept Payment | None"
)
def test_a_payload_that_may_be_none_must_be_accepted(p: Any) -> None:
    p.source(OUT, schema=Payment | None).transform(same).end()  # <>


def test_types_of_the_same_name_are_told_apart() -> None:
    theirs: Any = msgspec.defstruct("Payment", [("id", str)], module="elsewhere")

    def ours(payment: Any) -> Any: ...

    ours.__annotations__ = {"payment": theirs, "return": theirs}
    pipeline: Any = Pipeline("demo")
    payments(pipeline).transform(ours).end()
    with pytest.raises(
        DeclarationError, match=r"takes elsewhere\.Payment as payment, .* tests\.pipeline\.shop\.Payment$"
    ):
        pipeline.build()


def nothing() -> Payment: ...


@mistake("nothing() has no parameter: the first one is given the payload")
def test_a_function_without_parameters(p: Any) -> None:
    payments(p).transform(nothing).end()  # <>


def by_keyword(*, payment: Payment) -> Payment: ...


@mistake("the first parameter of by_keyword() is keyword-only: the payload is given by position")
def test_a_payload_by_keyword(p: Any) -> None:
    payments(p).transform(by_keyword).end()  # <>


def starred(payment: Payment, *more: Any) -> Payment: ...


@mistake("starred() takes *more: names say what it is given, so list its parameters")
def test_stars_are_refused(p: Any) -> None:
    payments(p).transform(starred).end()  # <>


def double_starred(payment: Payment, **more: Any) -> Payment: ...


@mistake("double_starred() takes **more: names say what it is given, so list its parameters")
def test_double_stars_are_refused(p: Any) -> None:
    payments(p).transform(double_starred).end()  # <>


def positional(payment: Payment, profile: Profile, /) -> Payment: ...


@mistake("positional() takes profile by position only: remove the '/'")
def test_names_by_position_are_refused(p: Any) -> None:
    payments(p).enrich(profile=Finding()).transform(positional).end()  # <>


@mistake("'odd' is 7: give a function")
def test_what_is_no_function(p: Any) -> None:
    payments(p).enrich(odd=7).end()  # <>


# -- types of names ------------------------------------------------------------------------------------------------


def wrong_type(payment: Payment, profile: float) -> Decision: ...


@mistake("wrong_type() wants profile: float, but profile is Profile")
def test_the_type_of_a_name_must_fit(p: Any) -> None:
    payments(p).enrich(profile=Finding()).act(wrong_type, to=OUT)  # <>


@mistake(
    "judge() wants profile: Profile, but profile is Profile | None: give it a default where it is added, "
    "or accept Profile | None"
)
def test_a_name_that_may_be_none_must_be_accepted(p: Any) -> None:
    found = payments(p).enrich(profile=Finding(Profile | None))
    found.act(judge, to=OUT)  # <>


NOBODY = Profile()


def with_event(payment: Payment, event: Event) -> Payment: ...


def with_default(payment: Payment, profile: Profile = NOBODY, label: str = "") -> Payment: ...


def test_event_is_always_there() -> None:
    pipeline: Any = Pipeline("demo")
    payments(pipeline).transform(with_event).end()
    assert wired(node(pipeline, "with_event")).takes == ("event",)


def test_a_default_takes_a_name_only_where_one_was_added_before() -> None:
    pipeline: Any = Pipeline("demo")
    stream = payments(pipeline)
    stream.transform(with_default, stage="without").end()
    stream.enrich(profile=Finding()).transform(with_default, stage="with").end()
    assert (wired(node(pipeline, "without")).takes, wired(node(pipeline, "without")).absent) == (
        (),
        ("profile", "label"),
    )
    assert (wired(node(pipeline, "with")).takes, wired(node(pipeline, "with")).absent) == (("profile",), ("label",))


def test_what_a_partial_binds_is_not_taken_from_the_scope() -> None:
    pipeline: Any = Pipeline("demo")
    bound = functools.partial(judge, profile=Profile(5.0))
    payments(pipeline).enrich(profile=Finding()).transform(bound, stage="bound").end()
    assert wired(node(pipeline, "bound")).takes == ()


def test_a_builtin_that_says_nothing_of_itself_is_taken_as_it_is() -> None:
    pipeline: Any = Pipeline("demo")
    pipeline.source(OUT, schema=Any).transform(dict).end()
    assert node(pipeline, "dict").payload is dict


# -- annotations that are there for a type checker alone -----------------------------------------------------------


def guarded(payment: Payment, price: Decimal, profile: Profile) -> Decimal: ...


def test_hints_that_cannot_be_resolved_warn_with_the_line_and_leave_the_others_checked() -> None:
    pipeline: Any = Pipeline("demo")
    stream = payments(pipeline).enrich(price=Finding(float), profile=Finding())
    stream.transform(guarded).end()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        graph = pipeline.build()
    assert [(one.category, one.filename) for one in caught] == [(UnresolvedHint, __file__)]
    assert str(caught[0].message) == (
        "guarded(): the annotation of price, the return type cannot be resolved when the program runs "
        "(imported under TYPE_CHECKING?), so it is not checked"
    )
    assert wired(graph.node(2)).takes == ("price", "profile")
    assert graph.node(2).payload is Any


@mistake("guarded() wants profile: Profile, but profile is str")
def test_hints_beside_an_unresolved_one_are_checked(p: Any) -> None:
    stream = payments(p).enrich(price=Finding(float), profile=Finding(str))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stream.transform(guarded).end()  # <>
        p.build()


# -- classes that gather names -------------------------------------------------------------------------------------


class Case(msgspec.Struct, frozen=True):
    payment: Payment
    profile: Profile
    event: Event
    note: str = ""


@dataclass(frozen=True)
class Folder:
    payment: Payment
    profile: Profile


class Plain:
    def __init__(self, payment: Payment, profile: Profile) -> None: ...


@pytest.mark.parametrize(
    ("kind", "takes", "absent"),
    [(Case, ("profile", "event"), ("note",)), (Folder, ("profile",), ()), (Plain, ("profile",), ())],
)
def test_a_class_gathers_names_into_one_object(kind: type, takes: tuple[str, ...], absent: tuple[str, ...]) -> None:
    pipeline: Any = Pipeline("demo")
    payments(pipeline).enrich(profile=Finding()).transform(kind).end()
    made = node(pipeline, kind.__name__)
    assert (wired(made).takes, wired(made).absent, made.payload) == (takes, absent, kind)


@mistake("Case asks for 'profile', which nothing before it adds. Known here: payment (the payload), event")
def test_a_class_asks_by_its_fields(p: Any) -> None:
    payments(p).transform(Case).end()  # <>


@mistake("Folder wants profile: Profile, but profile is float")
def test_fields_have_types_too(p: Any) -> None:
    payments(p).enrich(profile=Finding(float)).transform(Folder).end()  # <>


@mistake("Plain wants profile: Profile, but profile is float")
def test_a_plain_class_is_checked_by_its_init(p: Any) -> None:
    payments(p).enrich(profile=Finding(float)).transform(Plain).end()  # <>


class KeywordCase(msgspec.Struct, frozen=True, kw_only=True):
    payment: Payment


@mistake("KeywordCase is a class that takes its fields by keyword only: the payload is given by position")
def test_a_class_by_keyword(p: Any) -> None:
    payments(p).transform(KeywordCase).end()  # <>


def test_a_hint_names_what_is_close_or_all_there_is() -> None:
    assert hint("card", []) == ""
    assert hint("crad", ["amount", "card"]) == ": did you mean 'card'?"
    assert hint("zzz", ["b", "a"]) == "; it has a, b"
