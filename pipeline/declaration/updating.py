"""Checking the stages that update state: the user's function, and whether a repeat can be told from a new event."""

from __future__ import annotations

import inspect
from typing import Any

from penstock.errors import DeclarationError, Where
from penstock.pipeline.code import reachable
from penstock.pipeline.declaration.annotations import either, fits, label
from penstock.pipeline.declaration.callables import hints, kind_of, returned, signature
from penstock.pipeline.declaration.payloads import check_by, plain_class
from penstock.pipeline.graph import Enrich, Graph, Source
from penstock.pipeline.place import has_positions
from penstock.stages.helper import stage_of, updating
from penstock.stages.state import State


def check_updating(name: str, helper: Any, payload: Any, where: Where) -> None:
    """Refuse an updating item of an enrich whose key or function cannot be what it is declared as."""
    if isinstance(helper, State):
        check_by(helper.by, payload, where, f"{name}= by=")
        if helper.by is None:
            raise DeclarationError(f"{name}= has no key: say whose state it is, for example by='card'", where)
        plain = None if hasattr(helper.kind, "model_validate_json") else plain_class(helper.kind)
        if plain is not None:
            raise DeclarationError(
                f"{name}= keeps {label(plain)}, a plain class: make it a msgspec Struct or a dataclass", where
            )
        _check_function(name, helper, payload, where)


def _check_function(name: str, state: State[Any], payload: Any, where: Where) -> None:
    function = state.update
    called = f"{name}= update {getattr(function, '__name__', function)!s}()"
    kind = kind_of(function)
    if kind != "plain":
        raise DeclarationError(
            f"{called} is a {kind} function: it may run again when another process was faster, so it is a plain one",
            where,
        )
    found = signature(function)
    if found is None:
        return
    try:
        found.bind(None, payload)
    except TypeError:
        raise DeclarationError(
            f"{called} is called with the value so far, or None, and the payload: it takes these two", where
        ) from None
    known = hints(function).found
    given = [one for one in found.parameters.values() if one.kind is not inspect.Parameter.KEYWORD_ONLY][:2]
    if len(given) == 2 and inspect.Parameter.VAR_POSITIONAL not in (given[0].kind, given[1].kind):
        before, second = (known.get(one.name, Any) for one in given)
        so_far = either(state.kind, None)
        if not fits(so_far, before):
            raise DeclarationError(
                f"{called} takes {label(before)} as {given[0].name}, and gets {label(so_far)}: "
                "None for the first event of a key",
                where,
            )
        if not fits(payload, second):
            raise DeclarationError(
                f"{called} takes {label(second)} as {given[1].name}, but the stream carries {label(payload)}", where
            )
    result = returned(known.get("return", Any), kind)
    if not fits(result, state.kind):
        raise DeclarationError(f"{called} returns {label(result)}, but the state is {label(state.kind)}", where)


def check_repeats(graph: Graph) -> None:
    """Refuse a source whose events may come again unrecognized, where a stage after it updates state."""
    for source in graph.sources:
        stages = _stages(graph, source)
        blind = [endpoint for endpoint in source.endpoints if not has_positions(endpoint)]
        if stages and blind and source.identity is None and source.repeats == "once":
            raise DeclarationError(
                f"{blind[0].address} may bring an event twice, and nothing tells a repeat from a new event, so that "
                f"{stages[0]!r} would count it twice: name the field that does, id='...', or say that every arrival "
                "counts, repeats='counted'",
                source.where,
            )


def _stages(graph: Graph, source: Source) -> list[str]:
    """The stages that update state after this source, also past a through: there an event is what it was before."""
    after = reachable(graph, source)
    own = [
        stage_of(name, item)
        for node in after
        if isinstance(node, Enrich)
        for name, item in node.items
        if updating(item)
    ]
    beyond = [far for far in graph.sources for node in after if far.forward == node.id]
    return own + [stage for far in beyond for stage in _stages(graph, far)]
