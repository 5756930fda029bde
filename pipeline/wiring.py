"""Wiring one user function: what it asks for by name, what it returns, how it is called."""

from __future__ import annotations

import difflib
import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast, get_args

from penstock.errors import DeclarationError
from penstock.pipeline import annotations
from penstock.pipeline.annotations import label
from penstock.pipeline.graph import Function
from penstock.stages.function import MISSING, Batched, Call

Kind = Literal["plain", "coroutine", "generator", "async generator"]
_EMPTY = inspect.Parameter.empty


class UnresolvedHint(UserWarning):
    """A function's annotations could not be resolved, so they were not checked."""


def wire(f: Any, stage: str, payload: Any, scope: Mapping[str, Any]) -> tuple[Function, Any]:
    """The function as the engine calls it, and the type of what it yields.

    `payload` is the type of its first parameter, `scope` the names it may ask for. Raises `DeclarationError` without
    a place; the caller knows the line.
    """
    target, options = _unwrapped(f)
    if not callable(target):
        raise DeclarationError(f"{stage!r} is {target!r}: give a function")
    many = isinstance(f, Batched)
    found = annotations.signature(target)
    if found is None:
        return Function(target, stage, _kind(target), **options), Any
    hints = annotations.hints(target)
    if hints is None:
        warnings.warn(
            f"{_called(target, stage)}: its annotations cannot be resolved here (imported under TYPE_CHECKING?); "
            "names are checked, types are not",
            UnresolvedHint,
            stacklevel=2,
        )
        hints = {}
    first, others = _parameters(target, stage, found)
    _check_payload(target, stage, first, hints, payload, many)
    takes, absent = [], []
    for parameter in others:
        if parameter.name in scope:
            _check_name(target, stage, parameter, hints, scope, many)
            takes.append(parameter.name)
        elif parameter.default is not _EMPTY:
            absent.append(parameter.name)
        else:
            raise DeclarationError(_unknown(target, stage, parameter.name, first, scope))
    kind = _kind(target)
    result = annotations.returned(hints.get("return", Any), kind) if not isinstance(target, type) else target
    if many and annotations.is_list(result):
        result = (get_args(result) or (Any,))[0]
    if options.get("default", MISSING) is not MISSING and result is not Any:
        result = _either(result, type(options["default"]))
    return Function(target, stage, kind, tuple(takes), tuple(absent), **options), result


def _unwrapped(f: Any) -> tuple[Callable[..., Any], dict[str, Any]]:
    if isinstance(f, Call):
        names = ("timeout", "default", "cache", "thread", "retry")
        return f.function, {name: getattr(f, name) for name in names}
    if isinstance(f, Batched):
        return f.function, {"timeout": f.timeout, "thread": f.thread, "max": f.max, "many": True}
    return f, {}


def _kind(target: Callable[..., Any]) -> Kind:
    call = target if inspect.isroutine(target) or isinstance(target, type) else getattr(target, "__call__", target)  # noqa: B004
    while hasattr(call, "func"):  # functools.partial
        call = call.func
    if inspect.iscoroutinefunction(call):
        return "coroutine"
    if inspect.isasyncgenfunction(call):
        return "async generator"
    if inspect.isgeneratorfunction(call):
        return "generator"
    returns = (annotations.hints(call) or {}).get("return") if not isinstance(call, type) else None
    return cast(Kind, _KINDS.get(annotations.get_origin(returns) or returns, "plain"))


_KINDS: dict[Any, str] = {
    annotations.Awaitable: "coroutine",
    annotations.Coroutine: "coroutine",
    annotations.Iterator: "generator",
    annotations.AsyncIterator: "async generator",
}


def _parameters(target: Any, stage: str, found: inspect.Signature) -> tuple[inspect.Parameter, list[inspect.Parameter]]:
    parameters = list(found.parameters.values())
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
            raise DeclarationError(
                f"{_called(target, stage)} takes {stars}{parameter.name}: what it gets is told by its parameters' names, so list them"
            )
    if not parameters or (parameters[0].kind is inspect.Parameter.KEYWORD_ONLY and not isinstance(target, type)):
        raise DeclarationError(f"{_called(target, stage)} has no first parameter: that is where the payload goes")
    first, *others = parameters
    for parameter in others:
        if parameter.kind is parameter.POSITIONAL_ONLY and parameter.default is _EMPTY:
            raise DeclarationError(f"{_called(target, stage)} takes {parameter.name} by position only: remove the '/'")
    return first, others


def _check_payload(target: Any, stage: str, first: inspect.Parameter, hints: Mapping[str, Any], payload: Any, many: bool) -> None:
    wanted = hints.get(first.name, Any)
    if many:
        if wanted is not Any and not annotations.is_list(wanted):
            raise DeclarationError(f"{_called(target, stage)} is batched, so its first parameter is a list, not {label(wanted)}")
        wanted = (get_args(wanted) or (Any,))[0]
    if annotations.fits(payload, wanted):
        return
    message = f"{_called(target, stage)} takes {label(wanted)} as {first.name}, but the stream carries {label(payload)}"
    if annotations.is_list(payload) and annotations.fits((get_args(payload) or (Any,))[0], wanted):
        message += ": a returned list is one payload; yield its elements instead"
    elif type(None) in annotations.members(payload):
        message += ": the stage before may return None; filter those out, or yield instead of returning"
    raise DeclarationError(message)


def _check_name(
    target: Any, stage: str, parameter: inspect.Parameter, hints: Mapping[str, Any], scope: Mapping[str, Any], many: bool
) -> None:
    wanted, given = hints.get(parameter.name, Any), scope[parameter.name]
    if many:
        wanted = (get_args(wanted) or (Any,))[0] if annotations.is_list(wanted) else wanted
    if annotations.fits(given, wanted):
        return
    message = f"{_called(target, stage)} wants {parameter.name}: {label(wanted)}, but {parameter.name} is {label(given)}"
    if type(None) in annotations.members(given):
        message += f": give it a default, or accept {label(wanted)} | None"
    raise DeclarationError(message)


def _unknown(target: Any, stage: str, name: str, first: inspect.Parameter, scope: Mapping[str, Any]) -> str:
    known = sorted(scope)
    close = difflib.get_close_matches(name, known, n=1)
    meant = f" Did you mean {close[0]!r}?" if close else ""
    return (
        f"{_called(target, stage)} asks for {name!r}, which no stage before it adds.{meant} "
        f"Known here: {first.name} (the payload), {', '.join(known)}"
    )


def _called(target: Any, stage: str) -> str:
    name = getattr(target, "__name__", "")
    return f"{name}()" if name and name != "<lambda>" and name == stage else f"{stage!r}"


def _either(one: Any, other: Any) -> Any:
    if annotations.fits(other, one):
        return one
    try:
        return one | other
    except TypeError:
        return Any


