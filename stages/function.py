"""Options around a user's function: a time-out, a default, a cache, a thread, lists instead of single events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Concatenate, Generic, TypeAlias, TypeVar, overload

import msgspec

from penstock.connectors.duration import D, seconds
from penstock.errors import DeclarationError
from penstock.stages.outcome import Retries, counts

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")
T_contra = TypeVar("T_contra", contravariant=True)
U_co = TypeVar("U_co", covariant=True)

F: TypeAlias = Callable[[T], U] | Callable[Concatenate[T, ...], U]
"""A user's function of a payload and of names. The first form is the second one's too; it says what a lambda takes."""


class _Missing:
    """The absence of a default, so that None can be one."""

    def __repr__(self) -> str:
        return "..."


MISSING = _Missing()


class Call(msgspec.Struct, Generic[T_contra, U_co], frozen=True):
    """A function with options, as `call` returns it. It takes the place of the bare function in any position."""

    function: Callable[..., Any]
    timeout: float | None = None
    default: Any = MISSING
    cache: float | None = None
    thread: bool = False
    retry: Retries | None = None

    def __call__(self, payload: T_contra, *args: Any, **names: Any) -> U_co:
        """The bare function, so that tests can call it. The options take effect in the engine alone."""
        result: U_co = self.function(payload, *args, **names)
        return result


class Batched(msgspec.Struct, Generic[T_contra, U_co], frozen=True):
    """A function of lists, as `batched` returns it: what many events ask for in one loop tick is one call."""

    function: Callable[..., Any]
    max: int = 64
    timeout: float | None = None
    thread: bool = False

    def __call__(self, payload: T_contra, *args: Any, **names: Any) -> U_co:
        """One event alone: the function with lists of one."""
        result: U_co = self.function(
            [payload], *([arg] for arg in args), **{name: [value] for name, value in names.items()}
        )[0]
        return result


@overload
def call(
    f: F[T, Awaitable[U]],
    *,
    timeout: D | None = None,
    default: V,
    cache: D | None = None,
    thread: bool = False,
    retry: Retries | None = None,
) -> Call[T, U | V]: ...
@overload
def call(
    f: F[T, Awaitable[U]],
    *,
    timeout: D | None = None,
    cache: D | None = None,
    thread: bool = False,
    retry: Retries | None = None,
) -> Call[T, U]: ...
@overload
def call(
    f: F[T, U],
    *,
    timeout: D | None = None,
    default: V,
    cache: D | None = None,
    thread: bool = False,
    retry: Retries | None = None,
) -> Call[T, U | V]: ...
@overload
def call(
    f: F[T, U],
    *,
    timeout: D | None = None,
    cache: D | None = None,
    thread: bool = False,
    retry: Retries | None = None,
) -> Call[T, U]: ...
def call(
    f: Callable[..., Any],
    *,
    timeout: D | None = None,
    default: Any = MISSING,
    cache: D | None = None,
    thread: bool = False,
    retry: Retries | None = None,
) -> Call[Any, Any]:
    """Options for one function, in any position of the pipeline.

    - `timeout`: how long one try may take; then `default` where there is one, else it failed. A plain function can
      only be timed out in a thread.
    - `default`: what the function's failure (any exception but `Reject` and `Retry`) or time-out yields instead.
    - `cache`: how long an answer holds for equal arguments.
    - `thread`: run a plain function in a thread, for one that blocks or computes for more than a millisecond.
    - `retry`: this function's own retries in place of the pipeline's.

    >>> async def weather(city: str) -> float: ...
    >>> call(weather, timeout="50ms", default=15.0).timeout
    0.05
    """
    _check("call", f)
    if retry is not None and not isinstance(retry, Retries):
        raise DeclarationError(f"call(..., retry={retry!r}): write Retries(attempts=3, first='100ms', longest='10s')")
    return Call(
        f,
        timeout=length("call(..., timeout=)", timeout),
        default=default,
        cache=length("call(..., cache=)", cache),
        thread=thread,
        retry=retry,
    )


def batched(
    f: F[list[T], Sequence[U] | Awaitable[Sequence[U]]],
    *,
    max: int = 64,
    timeout: D | None = None,
    thread: bool = False,
) -> Batched[T, U]:
    """A function of lists, called once for what many events want in one loop tick.

    It gets a list of payloads, by-name arguments as lists too, and returns as many results in the same order. `max`
    is the most that it gets at once. A list that fails is halved until the guilty event stands alone.

    >>> def double(amounts: list[float]) -> list[float]: return [2 * amount for amount in amounts]
    >>> batched(double)(21.0)
    42.0
    """
    _check("batched", f)
    if not counts(max):
        raise DeclarationError(f"batched(..., max={max!r}): it is the most events of one call, at least 1")
    return Batched(f, max=max, timeout=length("batched(..., timeout=)", timeout), thread=thread)


def inner(f: Any) -> Any:
    """The user's own function, without the options around it.

    >>> inner(call(len)) is len
    True
    """
    return f.function if isinstance(f, Call | Batched) else f


def length(what: str, duration: D | None) -> float | None:
    """A declared length of time in seconds. Raises `DeclarationError` for what is none, or takes no time at all.

    >>> length("timeout", "50ms")
    0.05
    """
    if duration is None:
        return None
    try:
        found = seconds(duration)
    except ValueError as error:
        raise DeclarationError(f"{what}: {error}") from None
    if found <= 0:
        raise DeclarationError(f"{what}: {duration!r} is no time at all: leave it out, or write for example '250ms'")
    return found


def _check(helper: str, f: Any) -> None:
    if isinstance(f, Call | Batched):
        other = "call" if isinstance(f, Call) else "batched"
        raise DeclarationError(f"{helper}() is given what {other}() returned: one of them is enough, with all options")
    if not callable(f):
        raise DeclarationError(f"{helper}() is given {f!r}: give it a function")
