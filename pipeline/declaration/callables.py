"""What a callable says about itself: its annotations, its signature, how calling it yields results."""

from __future__ import annotations

import collections.abc as abc
import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any, NamedTuple, get_args, get_origin

import msgspec

_YIELDING = (abc.Iterator, abc.Generator, abc.AsyncIterator, abc.AsyncGenerator)


class Hints(NamedTuple):
    """Resolved annotations by name, `return` among them, and the names of those that could not be resolved."""

    found: dict[str, Any]
    unresolved: tuple[str, ...] = ()


def hints(target: Any) -> Hints:
    """What a function, class, partial or callable object is annotated with.

    Each annotation is resolved by itself where not all can be: a name that only a type checker imports
    (`TYPE_CHECKING`) leaves one parameter unknown, not all of them.

    >>> def double(n: int) -> float: ...
    >>> hints(double).found
    {'n': <class 'int'>, 'return': <class 'float'>}
    """
    target = _annotated(target)
    try:
        return Hints(typing.get_type_hints(target))
    except Exception:  # evaluating annotations may raise anything
        return _one_by_one(target)


def _annotated(target: Any) -> Any:
    """What carries the annotations of something callable."""
    while isinstance(target, functools.partial):
        target = target.func
    if isinstance(target, type):
        return target if keeps_fields(target) else vars(target).get("__init__", target)
    return target if inspect.isroutine(target) else type(target).__call__


def _one_by_one(target: Any) -> Hints:
    found: dict[str, Any] = {}
    unresolved = []
    for owner in reversed(target.__mro__) if isinstance(target, type) else (target,):
        module = sys.modules.get(getattr(owner, "__module__", "") or "")
        names = getattr(inspect.unwrap(owner), "__globals__", None) or vars(module or types)
        for name, annotation in getattr(owner, "__annotations__", {}).items():
            try:
                found |= typing.get_type_hints(types.SimpleNamespace(__annotations__={name: annotation}), names)
            except Exception:  # as above
                unresolved.append(name)
    return Hints(found, tuple(unresolved))


def returned(annotation: Any, kind: str) -> Any:
    """What one result is: the yielded type of a generator, the awaited type of a coroutine function's hint.

    >>> returned(abc.Iterator[int], "generator"), returned(abc.Awaitable[int], "coroutine"), returned(int, "plain")
    (<class 'int'>, <class 'int'>, <class 'int'>)
    """
    origin, args = get_origin(annotation), get_args(annotation)
    if kind in ("generator", "async generator"):
        return args[0] if args else Any
    if kind == "coroutine" and origin in (abc.Awaitable, abc.Coroutine) and args:
        return args[-1]
    return annotation


def class_hints(kind: type) -> dict[str, Any]:
    """A class's annotations, its bases' among them; Any for those that cannot be resolved."""
    try:
        return typing.get_type_hints(kind)
    except Exception:  # evaluating annotations may raise anything
        found, unresolved = _one_by_one(kind)
        return found | dict.fromkeys(unresolved, Any)


def keeps_fields(kind: type) -> bool:
    """Whether its annotations are its fields: a Struct, dataclass, pydantic model, TypedDict or NamedTuple."""
    marks = ("model_fields", "_fields")
    return (
        issubclass(kind, msgspec.Struct)
        or is_dataclass(kind)
        or typing.is_typeddict(kind)
        or any(hasattr(kind, mark) for mark in marks)
    )


def signature(function: Callable[..., Any]) -> inspect.Signature | None:
    """The signature of a function or class; None for builtins that have none."""
    try:
        return inspect.signature(function)
    except (ValueError, TypeError):
        return None


def narrowed(function: Any) -> Any:
    """The type that a `TypeIs` or `TypeGuard` predicate narrows to; None for an ordinary predicate."""
    found = hints(function).found.get("return") if callable(function) else None
    origin = get_origin(found)
    name = getattr(origin, "__name__", "") or getattr(origin, "_name", "")
    return get_args(found)[0] if name in ("TypeIs", "TypeGuard") else None


def kind_of(target: Any) -> typing.Literal["plain", "coroutine", "generator", "async generator"]:
    """How calling it yields results. A wrapper that says what it wraps (`functools.wraps`) is like what it wraps."""
    while isinstance(target, functools.partial):
        target = target.func
    if isinstance(target, type):
        return "plain"
    call = target if inspect.isroutine(target) else type(target).__call__
    for one in (call, inspect.unwrap(call)):
        if inspect.iscoroutinefunction(one):
            return "coroutine"
        if inspect.isasyncgenfunction(one):
            return "async generator"
        if inspect.isgeneratorfunction(one):
            return "generator"
    found = hints(call).found.get("return")
    origin = get_origin(found) or found
    if origin in (abc.Awaitable, abc.Coroutine):
        return "coroutine"
    if origin in _YIELDING:
        return "generator" if origin in (abc.Iterator, abc.Generator) else "async generator"
    return "plain"
