# Functions here are only declared.
# mypy: disable-error-code="empty-body"
"""What functions may ask for, by name and by type."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from penstock import DeclarationError, Event, Pipeline, batched, call
from penstock.models import Prediction
from penstock.pipeline.declaration.wiring import UnresolvedHint, hint
from penstock.pipeline.graph import Enrich, Function, Node, Transform
from tests.pipeline.mistakes import mistake
from tests.pipeline.shop import (
    OUT,
    Decision,
    Finding,
    Payment,
    Profile,
    Refund,
    big,
    decide,
    double,
    judge,
    later,
    many,
    parts,
    payments,
    profile_of,
    same,
    streamed,
)

if TYPE_CHECKING:
    from decimal import Decimal


def wired(node: Node) -> Function:
    assert isinstance(node, Transform)
    assert node.function is not None
    return node.function


def node(pipeline: Pipeline, stage: str) -> Node:
    return next(node for node in pipeline.build() if node.stage == stage)


# -- names ---------------------------------------------------------------------------------------------------------


def misspelt(payment: Payment, profil: Profile) -> Decision: ...


@mistake(
    "misspelt() asks for 'profil', which nothing before it adds: did you mean 'profile'? "
    "Known here: payment (the payload), event, profile"
)
def test_an_unknown_name_is_refused_with_a_suggestion(p: Any) -> None:
    found = payments(p).enrich(profile=Finding())
    found.act(misspelt, to=OUT)  # <>


def strange(payment: Payment, weather: float) -> Decision: ...


@mistake("strange() asks for 'weather', which nothing before it adds. Known here: payment (the payload), event")
def test_an_unknown_name_is_refused_with_what_there_is(p: Any) -> None:
    payments(p).act(strange, to=OUT)  # <>


def amounts(payment: Payment, amount: float) -> Decision: ...


@mistake(
    "amounts() asks for 'amount', which nothing before it adds: it is a field of the payload, so read payment.amount"
)
def test_a_field_of_the_payload_is_no_name(p: Any) -> None:
    payments(p).act(amounts, to=OUT)  # <>


def riskiness(payment: Payment, profile: Profile) -> float: ...


@mistake(
    "riskiness() of 'risk' asks for 'profile', which nothing before it adds: the names of one enrich are found at the "
    "same time, so put it into an .enrich(...) before this one"
)
def test_siblings_of_one_enrich_do_not_see_each_other(p: Any) -> None:
    found = payments(p).enrich(profile=Finding(), risk=riskiness)  # <>
    found.act(judge, to=OUT)


@mistake("judge() asks for 'profile', which nothing before it adds: it is added later, at <later>")
def test_a_name_that_is_added_later(p: Any) -> None:
    decided = payments(p).act(judge, to=OUT)  # <>
    decided.enrich(profile=Finding()).end()  # <later>


@mistake("judge() asks for 'profile', which nothing before it adds: it is added at <other>, on another branch")
def test_a_name_of_another_branch(p: Any) -> None:
    stream = payments(p)
    stream.enrich(profile=Finding()).end()  # <other>
    stream.act(judge, to=OUT)  # <>


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


# -- kinds of functions, in any position ---------------------------------------------------------------------------


class Scorer:
    async def __call__(self, payment: Payment) -> float: ...

    def method(self, payment: Payment) -> float: ...


def listed(found: list[Payment]) -> list[Payment]: ...


def listed_widely(found: Sequence[Payment], profile: Sequence[Profile]) -> Sequence[Decision]: ...


@pytest.mark.parametrize(
    ("f", "kind", "payload"),
    [
        (same, "plain", Payment),
        (later, "coroutine", Payment),
        (parts, "generator", Payment),
        (streamed, "async generator", Payment),
        (call(later, timeout="1s"), "coroutine", Payment),
        (call(same, thread=True), "plain", Payment),
        (batched(listed), "plain", Payment),
        (Scorer(), "coroutine", float),
        (Scorer().method, "plain", float),
        (functools.partial(later), "coroutine", Payment),
    ],
)
def test_what_a_stage_emits(f: Any, kind: str, payload: Any) -> None:
    pipeline: Any = Pipeline("demo")
    payments(pipeline).transform(f, stage="it").end()
    made = node(pipeline, "it")
    assert (wired(made).kind, made.payload) == (kind, payload)


def test_a_default_widens_what_a_name_may_be() -> None:
    pipeline: Any = Pipeline("demo")
    stream = payments(pipeline)
    stream.enrich(a=call(profile_of, default=None), b=call(profile_of, default=Profile()), c=profile_of).end()
    scope = node(pipeline, "enrich(a,b,c)").scope
    assert scope == {"a": Profile | None, "b": Profile, "c": Profile}


def test_call_and_batched_take_the_place_of_a_function_anywhere() -> None:
    pipeline: Any = Pipeline("demo")

    def lists(found: list[Any]) -> list[Any]: ...

    stream = payments(pipeline).transform(batched(lists), stage="transform")
    stream = stream.filter(call(big, cache="1m")).enrich(one=call(later, timeout="1s"), other=batched(lists))
    stream = stream.infer("m@champion", batched(lists), stage="infer").infer("m@challenger", call(dict), name="second")
    stream.act(batched(listed_widely_decided), to=OUT, stage="act")
    stream.act(call(decide, retry=None), to=OUT)
    kinds = [node.kind for node in pipeline.build()]
    assert kinds == ["source", "transform", "filter", "enrich", "infer", "infer", "act", "act"]
    enriched = node(pipeline, "enrich(one,other)")
    assert isinstance(enriched, Enrich)
    assert [item.many for _, item in enriched.items if isinstance(item, Function)] == [False, True]


def listed_widely_decided(found: Sequence[Payment], prediction: list[Prediction]) -> Sequence[Decision]: ...


def test_a_function_of_lists_gets_its_names_as_lists() -> None:
    pipeline: Any = Pipeline("demo")
    payments(pipeline).enrich(profile=Finding()).transform(batched(listed_widely)).end()
    made = node(pipeline, "listed_widely")
    assert (wired(made).takes, made.payload) == (("profile",), Decision)


mistaken: Any = batched
"""What a type checker refuses too, here left to `build()`."""


@mistake("same() is batched, so it takes a list: write payment: list[Payment], not Payment")
def test_a_batched_function_takes_a_list(p: Any) -> None:
    payments(p).transform(mistaken(same)).end()  # <>


def listed_wrongly(found: list[Refund]) -> list[Refund]: ...


@mistake("listed_wrongly() takes Refund as found, but the stream carries Payment")
def test_the_elements_of_the_list_must_fit(p: Any) -> None:
    payments(p).transform(batched(listed_wrongly)).end()  # <>


def listed_one(found: list[Payment]) -> Payment: ...


@mistake("listed_one() is batched, so it returns a list, one result for each event in order, not Payment")
def test_a_batched_function_returns_a_list(p: Any) -> None:
    payments(p).transform(mistaken(listed_one)).end()  # <>


def listed_name(found: list[Payment], profile: Profile) -> list[Payment]: ...


@mistake("listed_name() is batched, so profile is a list too: write profile: list[Profile]")
def test_names_of_a_batched_function_are_lists(p: Any) -> None:
    payments(p).enrich(profile=Finding()).transform(batched(listed_name)).end()  # <>


@mistake("parts() is a generator function: batched() wants a list, one result for each event, in order")
def test_a_batched_generator(p: Any) -> None:
    payments(p).transform(mistaken(parts)).end()  # <>


@mistake("Folder is a class: batched() wants a function from a list to a list")
def test_a_batched_class(p: Any) -> None:
    payments(p).transform(mistaken(Folder)).end()  # <>


@mistake(
    "double() is a plain function, which nothing can interrupt: call(..., timeout=) needs thread=True, "
    "or a coroutine function"
)
def test_a_plain_function_cannot_be_timed_out_in_place(p: Any) -> None:
    payments(p).transform(call(double, timeout="1s")).end()  # <>


@mistake("later() is a coroutine function, so it runs on the loop: take thread=True away")
def test_a_coroutine_function_has_no_thread(p: Any) -> None:
    payments(p).transform(call(later, thread=True)).end()  # <>


@mistake("parts() is a generator function: of call()'s options it can have retry= alone")
def test_options_that_a_generator_cannot_have(p: Any) -> None:
    payments(p).transform(call(parts, cache="1m")).end()  # <>


def test_a_hint_names_what_is_close_or_all_there_is() -> None:
    assert hint("card", []) == ""
    assert hint("crad", ["amount", "card"]) == ": did you mean 'card'?"
    assert hint("zzz", ["b", "a"]) == "; it has a, b"
