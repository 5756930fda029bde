"""`lookup`: what the store knows about a key that the payload names."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar, get_origin, overload

import msgspec
from typing_extensions import TypeForm

from penstock.connectors import Store
from penstock.connectors.duration import D, seconds
from penstock.connectors.template import check, names
from penstock.errors import DeclarationError
from penstock.stages.function import MISSING
from penstock.stages.keyed import Keyed, question
from penstock.stages.row import Bad

T = TypeVar("T")
V = TypeVar("V")
T_co = TypeVar("T_co", covariant=True)


class Lookup(msgspec.Struct, Generic[T_co], frozen=True):
    """The declaration that `lookup` returns: frozen data, an enrich helper."""

    template: str
    kind: Any
    default: Any = MISSING
    missing: Literal["reject"] | None = None
    cache: float | None = None

    @property
    def answer(self) -> Any:
        """The type that functions see."""
        if self.missing == "reject":
            return self.kind
        if self.default is MISSING:
            return self.kind | None
        plain = get_origin(self.kind) or self.kind
        if isinstance(plain, type) and isinstance(self.default, plain):
            return self.kind
        return self.kind | (None if self.default is None else type(self.default))

    @property
    def fields(self) -> tuple[str, ...]:
        """The payload's fields that the key is made of."""
        return names(self.template)

    def open(self, store: Store) -> Keyed:
        """Bound to its store, for one process."""
        return Keyed(question(self.template), self.kind, store, self._missing, self.cache)

    def _missing(self, key: str) -> Any:
        if self.missing == "reject":
            return Bad(f"the store has no {key}")
        return None if self.default is MISSING else self.default


@overload
def lookup(template: str, kind: TypeForm[T], *, missing: Literal["reject"], cache: D | None = None) -> Lookup[T]: ...
@overload
def lookup(template: str, kind: TypeForm[T], *, default: V, cache: D | None = None) -> Lookup[T | V]: ...
@overload
def lookup(template: str, kind: TypeForm[T], *, cache: D | None = None) -> Lookup[T | None]: ...
def lookup(
    template: str,
    kind: Any,
    *,
    default: Any = MISSING,
    missing: Literal["reject"] | None = None,
    cache: D | None = None,
) -> Lookup[Any]:
    """What the store keeps under a key, as `kind`, added to an event by `enrich`.

    - `template`: the key; braces are filled from the payload's fields: `"card:{card}"`.
    - `kind`: a Struct, a dataclass, a pydantic model: a hash with its fields by name (no other field is read), or a
      JSON string. `dict[str, V]`: a whole hash, or a JSON string. Any other type: a JSON string; `str` and `bytes` are
      taken as they are. Which form a key has is found out by asking.
    - For a key that is missing: `default`; or, `missing="reject"`, the event is rejected; else None.
    - `cache`: how long an answer holds in this process, also that a key is missing. Without it every event asks anew;
      equal keys in flight are asked for once, and their events share one object.

    A value that does not fit its type rejects the event, with the key and the field. Raises `DeclarationError` for a
    template that is none and options that exclude each other.

    >>> lookup("rate:{currency}", float, default=1.0).fields
    ('currency',)
    >>> lookup("rate:{currency}", float).answer
    float | None
    """
    try:
        check(template)
    except ValueError as error:
        raise DeclarationError(f"lookup({template!r}): {error}") from None
    if default is not MISSING and missing is not None:
        raise DeclarationError(
            f'lookup({template!r}) has default= and missing="reject": a missing key takes one of them'
        )
    return Lookup(template, kind, default, missing, None if cache is None else seconds(cache))
