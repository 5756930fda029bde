# Functions here are only declared.
# mypy: disable-error-code="empty-body"
"""Which names may be added to the scope, and what is said of one that is not there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from penstock import DeclarationError, Pipeline
from penstock.errors import Where
from penstock.pipeline.declaration.names import check_name
from tests.pipeline.mistakes import mistake
from tests.pipeline.shop import (
    OUT,
    Decision,
    Finding,
    Payment,
    Profile,
    judge,
    payments,
    profile_of,
)

PLACE = Where("app.py", 7)


@mistake("the name 'profile' is taken at <first>: choose another, for example profile_2")
def test_a_name_is_not_hidden(p: Any) -> None:
    stream = payments(p).enrich(profile=Finding())  # <first>
    stream.enrich(profile=profile_of).end()  # <>


@mistake("the name 'profile' is taken at <first>: choose another, for example profile_2")
def test_a_prediction_hides_nothing(p: Any) -> None:
    stream = payments(p).enrich(profile=Finding())  # <first>
    stream.infer("m@champion", name="profile").end()  # <>


@asynccontextmanager
async def opened() -> AsyncIterator[None]:
    yield None


@mistake("the name 'client' is taken at <first>: choose another, for example client_2")
def test_a_resource_is_not_hidden(p: Any) -> None:
    payments(p).enrich(client=profile_of).end()  # <>
    p.resource(client=opened)  # <first>


@mistake("the name 'event' is taken by the event itself: choose another")
def test_event_is_taken(p: Any) -> None:
    payments(p).enrich(event=profile_of).end()  # <>


@pytest.mark.parametrize("name", ["two words", "class", "_hidden", "", 7])
def test_a_name_is_one_that_a_parameter_can_have(name: Any) -> None:
    with pytest.raises(DeclarationError) as refused:
        check_name(name, {}, PLACE)
    assert str(refused.value) == f"app.py:7: {name!r} cannot be a parameter's name: choose a plain word"


def test_two_branches_may_use_one_name() -> None:
    pipeline: Any = Pipeline("demo")
    stream = payments(pipeline)
    stream.enrich(profile=Finding()).end()
    stream.enrich(profile=profile_of).end()
    assert len(pipeline.build().nodes) == 5


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
