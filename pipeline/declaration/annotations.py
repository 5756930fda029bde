"""Types as annotations say them: whether one fits another, which fields it has, how to write it."""

from __future__ import annotations

import collections.abc as abc
import inspect
import types
import typing
from typing import Any, Union, get_args, get_origin

import msgspec

from penstock.pipeline.declaration.callables import class_hints, keeps_fields

_NUMBERS = {float: (int, float), complex: (int, float, complex)}


def fits(given: Any, wanted: Any) -> bool:
    """Whether a value of type `given` may be passed where `wanted` is annotated; False only where it surely may not.

    >>> fits(int, float), fits(str, int | None), fits(bool, int)
    (True, False, True)
    """
    given, wanted = _bare(given), _bare(wanted)
    if _open(given) or _open(wanted) or given == wanted:
        return True
    if _is_union(given):
        return all(fits(member, wanted) for member in get_args(given))
    if _is_union(wanted):
        return any(fits(given, member) for member in get_args(wanted))
    if get_origin(given) is typing.Literal:
        return _literal_fits(given, wanted)
    if get_origin(wanted) is typing.Literal:
        return any(fits(given, type(value)) for value in get_args(wanted))
    return _class_fits(given, wanted)


def _literal_fits(given: Any, wanted: Any) -> bool:
    if get_origin(wanted) is typing.Literal:
        return set(get_args(given)) <= set(get_args(wanted))
    return all(fits(type(value), wanted) for value in get_args(given))


def _class_fits(given: Any, wanted: Any) -> bool:
    given_class, wanted_class = get_origin(given) or given, get_origin(wanted) or wanted
    if not isinstance(given_class, type) or not isinstance(wanted_class, type):
        return True
    if getattr(wanted_class, "_is_protocol", False):
        return True
    if given_class in _NUMBERS.get(wanted_class, ()):
        return True
    if _is_typed_dict(wanted_class):
        return given_class is dict or _is_typed_dict(given_class)
    if not issubclass(given_class, wanted_class):
        return False
    given_args, wanted_args = get_args(given), get_args(wanted)
    alike = given_class is wanted_class or wanted_class.__module__ == "collections.abc"
    if alike and len(given_args) == len(wanted_args):
        return all(fits(one, other) for one, other in zip(given_args, wanted_args, strict=True))
    return True


def members(annotation: Any) -> tuple[Any, ...]:
    """The members of a union; the annotation itself where it is none."""
    annotation = _bare(annotation)
    return get_args(annotation) if _is_union(annotation) else (annotation,)


def without_none(annotation: Any) -> tuple[Any, ...]:
    """The members that are not None.

    >>> without_none(int | None)
    (<class 'int'>,)
    """
    return tuple(member for member in members(annotation) if member is not type(None))


def admits_none(annotation: Any) -> bool:
    """Whether None is one of its members. What is not known admits nothing for sure."""
    return type(None) in members(annotation)


def either(one: Any, other: Any) -> Any:
    """The union of two types, or the wider of them.

    >>> either(int, None), either(float, int)
    (int | None, <class 'float'>)
    """
    if fits(type(None) if other is None else other, one):
        return one
    try:
        return one | other
    except TypeError:
        return Any


def fields(annotation: Any) -> dict[str, Any] | None:
    """Field names and types of a Struct, dataclass, pydantic model, TypedDict or NamedTuple; None where unknown."""
    kind = get_origin(_bare(annotation)) or _bare(annotation)
    if not isinstance(kind, type) or not keeps_fields(kind):
        return None
    if issubclass(kind, msgspec.Struct):
        found = class_hints(kind)
        return {name: found.get(name, Any) for name in kind.__struct_fields__}
    return {name: hint for name, hint in class_hints(kind).items() if not name.startswith("_")}


def field_type(annotation: Any, path: str) -> Any:
    """The type at a dotted field path; Any where it cannot be known. Raises KeyError where there is no such field."""
    found = annotation
    for name in path.split("."):
        kinds = [fields(member) for member in without_none(found)]
        if any(kind is None for kind in kinds) or not kinds:
            return Any
        missing = [kind for kind in kinds if kind is not None and name not in kind]
        if missing:
            raise KeyError(name)
        types_here = [kind[name] for kind in kinds if kind is not None]
        found = types_here[0] if len(types_here) == 1 else Any
    return found


def has(annotation: Any, path: str) -> bool:
    """Whether there may be such a field."""
    try:
        field_type(annotation, path)
    except KeyError:
        return False
    return True


def known(annotation: Any) -> set[str]:
    """The names of all fields that are known."""
    return {name for member in without_none(annotation) for name in fields(member) or ()}


def label(annotation: Any) -> str:
    """An annotation as a person would write it.

    >>> label(int | None), label(Any), label(dict[str, list[int]]), label(typing.Literal["a", "b"])
    ('int | None', 'Any', 'dict[str, list[int]]', "Literal['a', 'b']")
    """
    if annotation is type(None):
        return "None"
    if annotation is Ellipsis:
        return "..."
    if _is_union(annotation):
        return " | ".join(label(member) for member in get_args(annotation))
    if isinstance(annotation, list):  # the parameters of a Callable
        return f"[{', '.join(label(one) for one in annotation)}]"
    args = get_args(annotation)
    if get_origin(annotation) is typing.Literal:
        return f"Literal[{', '.join(repr(arg) for arg in args)}]"
    name = getattr(get_origin(annotation) or annotation, "__name__", None) or str(annotation)
    return f"{name}[{', '.join(label(arg) for arg in args)}]" if args else str(name)


def labels(one: Any, other: Any) -> tuple[str, str]:
    """Two annotations told apart: with their modules where they would read the same."""
    first, second = label(one), label(other)
    if first != second or not (isinstance(one, type) and isinstance(other, type)):
        return first, second
    return f"{one.__module__}.{one.__qualname__}", f"{other.__module__}.{other.__qualname__}"


def element(annotation: Any) -> Any:
    """What a list or another iterable holds, Any where that is not said; None for what is no iterable of things.

    >>> element(list[int]), element(list), element(int), element(str)
    (<class 'int'>, typing.Any, None, None)
    """
    annotation = _bare(annotation)
    if _open(annotation):
        return Any
    kind = get_origin(annotation) or annotation
    if not isinstance(kind, type) or not issubclass(kind, abc.Iterable) or issubclass(kind, str | bytes | abc.Mapping):
        return None
    args = get_args(annotation)
    if issubclass(kind, tuple):
        return args[0] if len(args) == 2 and args[1] is Ellipsis else Any
    return args[0] if len(args) == 1 else Any


def _bare(annotation: Any) -> Any:
    """Without what says more about a type than which it is: `Annotated`, an alias, a `NewType`."""
    while True:
        if hasattr(annotation, "__metadata__"):
            annotation = annotation.__origin__
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            return type(None) if annotation is None else annotation


def _open(annotation: Any) -> bool:
    return annotation in (Any, object, inspect.Parameter.empty) or isinstance(annotation, typing.TypeVar)


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def _is_typed_dict(kind: Any) -> bool:
    return typing.is_typeddict(kind)
