"""`state`: a value of the user's own type for each key, folded over its events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec
from typing_extensions import TypeForm

from penstock.connectors import Store
from penstock.connectors.duration import D, seconds
from penstock.errors import DeclarationError
from penstock.stages.folding import Folding
from penstock.stages.packing import packing
from penstock.stages.payload import By

T = TypeVar("T")
P = TypeVar("P")
T_co = TypeVar("T_co", covariant=True)


class State(msgspec.Struct, Generic[T_co], frozen=True):
    """The declaration that `state` returns: frozen data, an enrich helper that updates."""

    kind: Any
    by: By
    update: Callable[[Any, Any], Any]
    stage: str = ""
    horizon: float = 86_400.0

    @property
    def answer(self) -> Any:
        """The type that functions see."""
        return self.kind

    @property
    def fields(self) -> tuple[str, ...]:
        """The payload's fields that the key is made of."""
        return (self.by,) if isinstance(self.by, str) else self.by if isinstance(self.by, tuple) else ()

    @property
    def updates(self) -> bool:
        return True

    def open(self, store: Store, space: str = "") -> Folding:
        """Bound to its store, for one process; keys of the store begin with `space`."""
        return Folding(self, store, space)


def state(
    kind: TypeForm[T],
    *,
    by: By,
    update: Callable[[T | None, P], T],
    stage: str = "",
    horizon: D = "1d",
) -> State[T]:
    """A value for each key that every event changes once, added to the event by `enrich` as it is after the change.

    - `kind`: the value's type: numbers, text, collections, a Struct, a dataclass, a pydantic model.
    - `by`: whose value: a field of the payload, a tuple of fields, or a function of the payload.
    - `update`: a plain function of the value so far (None for a key's first event) and the payload; it returns the new
      value. It may be called more than once for one event, when another process changed the value meanwhile, so it
      changes nothing else. What it raises is the event's own failure, and the value stays as it was.
    - `stage`: the name under which the value is kept, by default the name that `enrich` gives it. Keep it when you
      rename the other.
    - `horizon`: how long an event without a position (MQTT, HTTP) is known again by its id.

    An event that comes again gets the value that it got the first time, whichever process had it then. Values stay
    until they are deleted.

    >>> def add(total: float | None, payment: dict[str, float]) -> float:
    ...     return (total or 0.0) + payment["amount"]
    >>> state(float, by="card", update=add).answer
    <class 'float'>
    """
    name = getattr(update, "__name__", "") or "update"
    try:
        packing(kind)
    except Exception as error:  # what a type cannot be kept for: a TypeError, a NameError of its annotations
        raise DeclarationError(
            f"state({kind!r}, update={name}): a value of this type cannot be kept: {error}"
        ) from None
    if not callable(update):
        raise DeclarationError(
            f"state({kind!r}, update={update!r}): give a function of the value so far and the payload"
        )
    try:
        length = seconds(horizon)
    except ValueError as error:
        raise DeclarationError(f"state(horizon=): {error}") from None
    return State(kind, by, update, stage, length)
