"""Wiring one user function: what it asks for by name, what it returns, how it is called."""

from __future__ import annotations

import difflib
import functools
import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

import msgspec

from penstock.errors import DeclarationError, Where
from penstock.pipeline.declaration.annotations import admits_none, either, element, fields, fits, label, labels
from penstock.pipeline.declaration.callables import hints, kind_of, returned, signature
from penstock.pipeline.graph import Function
from penstock.stages.function import MISSING, Batched, Call, inner

_EMPTY = inspect.Parameter.empty


class UnresolvedHint(UserWarning):
    """Some of a function's annotations could not be resolved, so they were not checked."""


class Given(msgspec.Struct, frozen=True):
    """What a function at one place of the graph is given, and where the user wrote it.

    `payload` is the type of its first parameter, `scope` the names it may ask for with their types; `explain` says
    more about a name that is not among them.
    """

    stage: str
    where: Where
    payload: Any
    scope: Mapping[str, Any]
    explain: Callable[[str], str] = lambda name: ""

    def fail(self, message: str) -> NoReturn:
        """Raise a `DeclarationError` at the user's line."""
        raise DeclarationError(message, self.where)


def wire(f: Any, given: Given) -> tuple[Function, Any]:
    """The function as the engine calls it, and the type of what it yields. Raises `DeclarationError`."""
    target, many = inner(f), isinstance(f, Batched)
    if not callable(target):
        given.fail(f"{given.stage!r} is {target!r}: give a function")
    kind = kind_of(target)
    options = _options(f, target, kind, given)
    found = signature(target)
    if found is None:  # a builtin that does not say what it takes
        return Function(target, given.stage, kind, **options), target if isinstance(target, type) else Any
    known, unresolved = hints(target)
    if unresolved:
        _warn(target, unresolved, given)
    first, others = _parameters(target, found, given)
    _check_payload(target, first, known.get(first.name, Any), given, many)
    takes, absent = [], []
    for parameter in others:
        if parameter.name in given.scope:
            _check_name(target, parameter.name, known.get(parameter.name, Any), given, many)
            takes.append(parameter.name)
        elif parameter.default is not _EMPTY:
            absent.append(parameter.name)
        else:
            given.fail(_unknown(target, parameter.name, first.name, given))
    result = target if isinstance(target, type) else returned(known.get("return", Any), kind)
    if many:
        result = _of_list(target, result, given)
    if options.get("default", MISSING) is not MISSING and result is not Any:
        result = either(result, type(options["default"]))
    return Function(target, given.stage, kind, tuple(takes), tuple(absent), **options), result


def name_of(f: Any) -> str:
    """A function's own name; empty for a lambda, a partial or an object, which have none."""
    name = getattr(inner(f), "__name__", "")
    return "" if name == "<lambda>" else str(name)


def hint(name: str, known: Iterable[str]) -> str:
    """What was probably meant, as the end of a sentence.

    >>> hint("crad", ["amount", "card"]), hint("x", ["amount", "card"])
    (": did you mean 'card'?", '; it has amount, card')
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f": did you mean {close[0]!r}?"
    return f"; it has {', '.join(names)}" if names else ""


def _options(f: Any, target: Any, kind: str, given: Given) -> dict[str, Any]:
    """The options of `call` and `batched`, where they can mean something for this function."""
    called = _called(target, given)
    if not isinstance(f, Call | Batched):
        return {}
    helper = "call" if isinstance(f, Call) else "batched"
    if f.thread and kind == "coroutine":
        given.fail(f"{called} is a coroutine function, so it runs on the loop: take thread=True away")
    if f.timeout is not None and kind == "plain" and not f.thread:
        given.fail(
            f"{called} is a plain function, which nothing can interrupt: "
            f"{helper}(..., timeout=) needs thread=True, or a coroutine function"
        )
    if isinstance(f, Batched):
        if kind != "plain" and kind != "coroutine":
            given.fail(f"{called} is a generator function: batched() wants a list, one result for each event, in order")
        if isinstance(target, type):
            given.fail(f"{called} is a class: batched() wants a function from a list to a list")
        return {"timeout": f.timeout, "thread": f.thread, "max": f.max, "many": True}
    options = {name: getattr(f, name) for name in ("timeout", "default", "cache", "thread", "retry")}
    if "generator" in kind:
        for name in ("timeout", "default", "cache", "thread"):
            if options[name] not in (None, MISSING, False):
                given.fail(f"{called} is a generator function: of call()'s options it can have retry= alone")
    return options


def _parameters(
    target: Any, found: inspect.Signature, given: Given
) -> tuple[inspect.Parameter, list[inspect.Parameter]]:
    called, parameters = _called(target, given), list(found.parameters.values())
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
            given.fail(f"{called} takes {stars}{parameter.name}: names say what it is given, so list its parameters")
    if not parameters:
        given.fail(f"{called} has no parameter: the first one is given the payload")
    first, *others = parameters
    if first.kind is first.KEYWORD_ONLY:
        which = "is a class that takes its fields by keyword only" if isinstance(target, type) else "is keyword-only"
        what = called if isinstance(target, type) else f"the first parameter of {called}"
        given.fail(f"{what} {which}: the payload is given by position")
    bound = getattr(target, "keywords", {}) if isinstance(target, functools.partial) else {}
    for parameter in others:
        if parameter.kind is parameter.POSITIONAL_ONLY and parameter.default is _EMPTY:
            given.fail(f"{called} takes {parameter.name} by position only: remove the '/'")
    return first, [one for one in others if one.kind is not one.POSITIONAL_ONLY and one.name not in bound]


def _check_payload(target: Any, first: inspect.Parameter, wanted: Any, given: Given, many: bool) -> None:
    called, payload = _called(target, given), given.payload
    if many:
        if element(wanted) is None or not fits(list, wanted):
            given.fail(
                f"{called} is batched, so it takes a list: write {first.name}: list[{label(payload)}], "
                f"not {label(wanted)}"
            )
        wanted = element(wanted)
    if fits(payload, wanted):
        return
    takes, carries = labels(wanted, payload)
    message = f"{called} takes {takes} as {first.name}, but the stream carries {carries}"
    inside = element(payload)
    if inside not in (None, Any) and fits(inside, wanted):
        message += ": a returned list is one payload; yield its elements instead"
    elif admits_none(payload):
        message += f": filter out None before it, or accept {takes} | None"
    given.fail(message)


def _check_name(target: Any, name: str, wanted: Any, given: Given, many: bool) -> None:
    called, found = _called(target, given), given.scope[name]
    if many:
        if element(wanted) is None:
            given.fail(f"{called} is batched, so {name} is a list too: write {name}: list[{label(found)}]")
        wanted = element(wanted)
    if fits(found, wanted):
        return
    wants, is_a = labels(wanted, found)
    message = f"{called} wants {name}: {wants}, but {name} is {is_a}"
    if admits_none(found) and not admits_none(wanted):
        message += f": give it a default where it is added, or accept {wants} | None"
    given.fail(message)


def _of_list(target: Any, result: Any, given: Given) -> Any:
    inside = element(result)
    if inside is None:
        given.fail(
            f"{_called(target, given)} is batched, so it returns a list, one result for each event in order, "
            f"not {label(result)}"
        )
    return inside


def _unknown(target: Any, name: str, first: str, given: Given) -> str:
    message = f"{_called(target, given)} asks for {name!r}, which nothing before it adds"
    if name in (fields(given.payload) or ()):
        return f"{message}: it is a field of the payload, so read {first}.{name}"
    more = given.explain(name)
    if more:
        return f"{message}: {more}"
    known = sorted(given.scope)
    close = difflib.get_close_matches(name, known, n=1)
    meant = f": did you mean {close[0]!r}?" if close else "."
    return f"{message}{meant} Known here: {first} (the payload), {', '.join(known)}"


def _warn(target: Any, unresolved: tuple[str, ...], given: Given) -> None:
    names = ", ".join("the return type" if name == "return" else name for name in unresolved)
    warnings.warn_explicit(
        f"{_called(target, given)}: the annotation of {names} cannot be resolved when the program runs "
        "(imported under TYPE_CHECKING?), so it is not checked",
        UnresolvedHint,
        given.where.file,
        given.where.line,
    )


def _called(target: Any, given: Given) -> str:
    name = name_of(target)
    if not name:
        return f"{given.stage!r}"
    whole = f"{name}" if isinstance(target, type) else f"{name}()"
    return whole if name == given.stage else f"{whole} of {given.stage!r}"
