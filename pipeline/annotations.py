"""Reading a function's annotations, and telling whether what flows in fits what it expects."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from dataclasses import is_dataclass
from typing import Any, Union, get_args, get_origin

import msgspec

_LISTS = (Iterator, Iterable, AsyncIterator, AsyncIterable)
_PROMISES = (Awaitable, Coroutine)
_NUMBERS = {float: (int, float), complex: (int, float, complex)}


def hints(function: Callable[..., Any]) -> dict[str, Any] | None:
    """A function's or class's resolved annotations; None where a name cannot be resolved (`TYPE_CHECKING`)."""
    target = function
    if not isinstance(function, type) and not hasattr(function, "__annotations__") and callable(function):
        target = type(function).__call__
    try:
        return typing.get_type_hints(target)
    except Exception:  # a missing name, a forward reference: anything may come out of evaluating annotations
        return None


def returned(annotation: Any, kind: str) -> Any:
    """What one result is: the yielded type of a generator, the awaited type of a coroutine function's hint."""
    origin, args = get_origin(annotation), get_args(annotation)
    if kind in ("generator", "async generator"):
        return args[0] if args else Any
    if origin in _PROMISES and args:
        return args[-1]
    return annotation


def fits(given: Any, wanted: Any) -> bool:
    """Whether a value of type `given` may be passed where `wanted` is annotated; False only where it surely may not.

    >>> fits(int, float), fits(str, int | None), fits(bool, int)
    (True, False, True)
    """
    if _open(given) or _open(wanted) or given == wanted:
        return True
    if isinstance(given, typing.NewType) or isinstance(wanted, typing.NewType):
        return fits(getattr(given, "__supertype__", given), getattr(wanted, "__supertype__", wanted))
    if _is_union(given):
        return all(fits(member, wanted) for member in get_args(given))
    if _is_union(wanted):
        return any(fits(given, member) for member in get_args(wanted))
    given_class, wanted_class = get_origin(given) or given, get_origin(wanted) or wanted
    if not isinstance(given_class, type) or not isinstance(wanted_class, type):
        return True
    if getattr(wanted_class, "_is_protocol", False):
        return True
    if wanted_class in _NUMBERS and given_class in _NUMBERS[wanted_class]:
        return True
    if not issubclass(given_class, wanted_class):
        return False
    given_args, wanted_args = get_args(given), get_args(wanted)
    if given_class is wanted_class and len(given_args) == len(wanted_args):
        return all(fits(one, other) for one, other in zip(given_args, wanted_args, strict=True))
    return True


def members(annotation: Any) -> tuple[Any, ...]:
    """The members of a union; the annotation itself where it is none."""
    return get_args(annotation) if _is_union(annotation) else (annotation,)


def fields(annotation: Any) -> dict[str, Any] | None:
    """Field names and types of a Struct, dataclass, pydantic model, TypedDict or NamedTuple; None where unknown."""
    kind = get_origin(annotation) or annotation
    if not isinstance(kind, type):
        return None
    if issubclass(kind, msgspec.Struct):
        return {field.name: field.type for field in msgspec.structs.fields(kind)}
    known = is_dataclass(kind) or hasattr(kind, "model_fields") or hasattr(kind, "__total__") or hasattr(kind, "_fields")
    if known:
        found = hints(kind) or dict.fromkeys(getattr(kind, "__annotations__", {}), Any)
        return {name: hint for name, hint in found.items() if not name.startswith("_")}
    return None


def field_type(annotation: Any, path: str) -> Any:
    """The type at a dotted field path; Any where it cannot be known. Raises KeyError where there is no such field."""
    found = annotation
    for name in path.split("."):
        kinds = [fields(member) for member in members(found) if member is not type(None)]
        if any(kind is None for kind in kinds) or not kinds:
            return Any
        missing = [kind for kind in kinds if kind is not None and name not in kind]
        if missing:
            raise KeyError(name)
        types_here = [kind[name] for kind in kinds if kind is not None]
        found = types_here[0] if len(types_here) == 1 else Any
    return found


def label(annotation: Any) -> str:
    """An annotation as a person would write it.

    >>> label(int | None), label(Any)
    ('int | None', 'Any')
    """
    if annotation is type(None):
        return "None"
    if _is_union(annotation):
        return " | ".join(label(member) for member in get_args(annotation))
    args = get_args(annotation)
    name = getattr(get_origin(annotation) or annotation, "__name__", None) or str(annotation)
    return f"{name}[{', '.join(label(arg) for arg in args)}]" if args else str(name)


def signature(function: Callable[..., Any]) -> inspect.Signature | None:
    """The signature of a function or class; None for builtins that have none."""
    try:
        return inspect.signature(function)
    except (ValueError, TypeError):
        return None


def is_list(annotation: Any) -> bool:
    """Whether it is annotated as a list: one payload, not many."""
    return (get_origin(annotation) or annotation) is list


def _open(annotation: Any) -> bool:
    return annotation in (Any, object, inspect.Parameter.empty) or isinstance(annotation, typing.TypeVar)


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)
