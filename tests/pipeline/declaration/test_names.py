"""Which names may be added to the scope."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from penstock import DeclarationError, Pipeline
from penstock.errors import Where
from penstock.pipeline.declaration.names import check_name
from tests.pipeline.mistakes import mistake
from tests.pipeline.shop import Finding, payments, profile_of

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
