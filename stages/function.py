"""Options around a user's function: a time-out, a default, a cache, a thread, lists instead of single events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, TypeVar, overload

from penstock.connectors.duration import D, seconds
from penstock.stages.outcome import Retries

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")


class _Missing:
    """The absence of a default, so that None can be one."""

    def __repr__(self) -> str:
        return "..."


MISSING = _Missing()


@dataclass(frozen=True)
class Call(Generic[T, U]):
    """A function with options, as `call` returns it. It takes the place of the bare function in any position."""

    function: Callable[..., Any]
    timeout: float | None = None
    default: Any = MISSING
    cache: float | None = None
    thread: bool = False
    retry: Retries | None = None

    def __call__(self, payload: T, *args: Any, **names: Any) -> U:
        """The bare function, so that tests can call it. The options take effect in the engine alone."""
        result: U = self.function(payload, *args, **names)
        return result


@dataclass(frozen=True)
class Batched(Generic[T, U]):
    """A function of lists, as `batched` returns it: what many events ask for in one loop tick is one call."""

    function: Callable[..., Any]
    max: int = 64
    timeout: float | None = None
    thread: bool = False

    def __call__(self, payload: T, *args: Any, **names: Any) -> U:
        """One event alone: the function with lists of one."""
        result: U = self.function([payload], *([arg] for arg in args), **{name: [value] for name, value in names.items()})[0]
        return result


@overload
def call(
    f: Callable[Concatenate[T, ...], Awaitable[U]],
    *,
    timeout: D | None = None,
    default: V,
    cache: D | None = None,
    thread: bool = False,
    retry: Retries | None = None,
) -> Call[T, U | V]: ...
@overload
def call(
    f: Callable[Concatenate[T, ...], Awaitable[U]],
    *,
    timeout: D | None = None,
    cache: D | None = None,
    thread: bool = False,
    retry: Retries | None = None,
) -> Call[T, U]: ...
@overload
def call(
    f: Callable[Concatenate[T, ...], U],
    *,
    timeout: D | None = None,
    default: V,
    cache: D | None = None,
    thread: bool = False,
    retry: Retries | None = None,
) -> Call[T, U | V]: ...
@overload
def call(
    f: Callable[Concatenate[T, ...], U],
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
    - `default`: what the function's failure (any exception but `Reject`) or time-out yields instead.
    - `cache`: how long an answer holds for equal arguments.
    - `thread`: run a plain function in a thread, for one that blocks or computes for more than a millisecond.
    - `retry`: this function's own retries in place of the pipeline's.

    >>> async def weather(city: str) -> float: ...
    >>> call(weather, timeout="50ms", default=15.0).timeout
    0.05
    """
    return Call(
        f,
        timeout=None if timeout is None else seconds(timeout),
        default=default,
        cache=None if cache is None else seconds(cache),
        thread=thread,
        retry=retry,
    )


def batched(
    f: Callable[Concatenate[list[T], ...], list[U] | Awaitable[list[U]]],
    *,
    max: int = 64,
    timeout: D | None = None,
    thread: bool = False,
) -> Batched[T, U]:
    """A function of lists, called once for what many events want in one loop tick.

    It gets a list of payloads, by-name arguments as lists too, and returns as many results in the same order.

    >>> def double(amounts: list[float]) -> list[float]: return [2 * amount for amount in amounts]
    >>> batched(double)(21.0)
    42.0
    """
    return Batched(f, max=max, timeout=None if timeout is None else seconds(timeout), thread=thread)
