"""What an enrich helper is to the engine: a question per event, answered for many events at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Generic, Protocol, TypeGuard, TypeVar, runtime_checkable

from penstock.connectors import Store

T_co = TypeVar("T_co", covariant=True)


class Failure:
    """In a list of answers, the place of one that failed, with the exception that says why."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


async def together(*asked: Awaitable[Any]) -> list[Any]:
    """All of these answers at once, in order, a `Failure` in the place of each that failed."""
    found = await asyncio.gather(*asked, return_exceptions=True)
    return [Failure(one) if isinstance(one, BaseException) else one for one in found]


class Asker(Protocol):
    """A helper opened for one process: bound to its store, ready to be asked.

    `question` is synchronous and cheap; whatever it raises is the event's own failure. `ask_many` answers in
    order, with a `Failure` in the place of each question that failed; it raises only for an outage
    (`Unavailable`), which concerns them all. `ask` is the same for one question alone: its answer, or its error raised.
    """

    def question(self, payload: Any, /) -> Any: ...

    def ask(self, question: Any, /) -> Awaitable[Any]: ...

    def ask_many(self, questions: Sequence[Any], /) -> Awaitable[list[Any]]: ...


@runtime_checkable
class Helper(Protocol, Generic[T_co]):
    """Frozen data that declares a question: `lookup(...)`, `state(...)`.

    `answer` is the type that functions see, checked against their annotations when the pipeline is built.
    `fields` are the payload's fields it reads (dotted paths), checked against the payload's type.
    """

    @property
    def answer(self) -> Any: ...

    @property
    def fields(self) -> tuple[str, ...]: ...

    def open(self, store: Store) -> Asker: ...


@runtime_checkable
class Updating(Helper[T_co], Protocol[T_co]):
    """A helper that changes state, where `updates` says so.

    `stage` is the name under which it keeps state, if that is not the one it is given in `enrich`. It opens with the
    beginning of its keys in the store; its asker is asked pairs of a question and the event's `Mark`.
    """

    @property
    def stage(self) -> str: ...

    @property
    def updates(self) -> bool: ...

    def open(self, store: Store, space: str = "") -> Asker: ...


def updating(helper: Any) -> TypeGuard[Updating[Any]]:
    """Whether this item of an enrich changes state."""
    return isinstance(helper, Updating) and helper.updates


def stage_of(name: str, helper: Updating[Any]) -> str:
    """The name under which an updating item of an enrich keeps its state."""
    return helper.stage or name
