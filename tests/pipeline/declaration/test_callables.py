# Functions here are only declared.
# mypy: disable-error-code="empty-body"
"""What a callable says about itself."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from typing_extensions import TypeIs

from penstock.pipeline.declaration.callables import class_hints, hints, kind_of, narrowed, returned, signature
from tests.pipeline.shop import Payment, big, later, parts, same, streamed

if TYPE_CHECKING:
    from decimal import Decimal

F = TypeVar("F", bound=Callable[..., Any])


def logged(f: F) -> F:
    """A decorator as people write them: a plain function around any."""

    @functools.wraps(f)
    def wrapper(*args: Any, **names: Any) -> Any:
        return f(*args, **names)

    return wrapper  # type: ignore[return-value]


class Score:
    def __call__(self, payment: Payment) -> float: ...
    async def slowly(self, payment: Payment) -> float: ...


class Slow:
    async def __call__(self, payment: Payment) -> float: ...


def promised(payment: Payment) -> Awaitable[int]: ...
def started(payment: Payment) -> Coroutine[Any, Any, int]: ...
def iterated(payment: Payment) -> Iterator[int]: ...
def generated(payment: Payment) -> Generator[int, None, None]: ...
def streams(payment: Payment) -> AsyncIterator[int]: ...


@pytest.mark.parametrize(
    ("f", "kind"),
    [
        (same, "plain"),
        (later, "coroutine"),
        (parts, "generator"),
        (streamed, "async generator"),
        (promised, "coroutine"),
        (started, "coroutine"),
        (iterated, "generator"),
        (generated, "generator"),
        (streams, "async generator"),
        (logged(later), "coroutine"),
        (logged(parts), "generator"),
        (logged(same), "plain"),
        (functools.partial(functools.partial(later)), "coroutine"),
        (Score(), "plain"),
        (Score().slowly, "coroutine"),
        (Slow(), "coroutine"),
        (Slow, "plain"),
        (len, "plain"),
        (lambda payment: payment, "plain"),
    ],
)
def test_how_calling_it_yields_results(f: Any, kind: str) -> None:
    assert kind_of(f) == kind


@pytest.mark.parametrize(
    ("annotation", "kind", "one"),
    [
        (int, "plain", int),
        (list[int], "plain", list[int]),
        (int, "coroutine", int),
        (Awaitable[int], "coroutine", int),
        (Coroutine[Any, Any, int], "coroutine", int),
        (Iterator[int], "generator", int),
        (Generator[int, str, None], "generator", int),
        (AsyncIterator[int], "async generator", int),
        (Any, "generator", Any),
    ],
)
def test_what_one_result_is(annotation: Any, kind: str, one: Any) -> None:
    assert returned(annotation, kind) == one


def half_known(payment: Payment, price: Decimal) -> Decimal | None: ...


def test_what_can_be_resolved_is() -> None:
    assert hints(half_known) == ({"payment": Payment}, ("price", "return"))
    assert hints(functools.partial(same)).found == {"payment": Payment, "return": Payment}
    assert hints(Score()).found == {"payment": Payment, "return": float}
    assert hints(len) == ({}, ())


class Base:
    first: int


class HalfKnown(Base):
    second: str
    third: Decimal


def test_the_annotations_of_a_class_with_those_of_its_bases() -> None:
    assert class_hints(HalfKnown) == {"first": int, "second": str, "third": Any}


def test_a_signature_where_there_is_one() -> None:
    assert str(signature(big)) == "(payment: 'Payment') -> 'bool'"
    assert signature(dict) is None
    assert signature(7) is None  # type: ignore[arg-type]


def is_text(value: object) -> TypeIs[str]: ...


def test_what_a_predicate_narrows_to() -> None:
    assert narrowed(is_text) is str
    assert narrowed(big) is None
    assert narrowed(lambda value: True) is None
    assert narrowed(7) is None
