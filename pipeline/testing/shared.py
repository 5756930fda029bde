"""What a harness checks beside: a payload that several branches share is changed by none of them."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from msgspec.structs import replace

from penstock.pipeline import graph as nodes
from penstock.pipeline.graph import Function, Graph
from penstock.stages.outcome import Reject
from penstock.stages.payload import encode_any


def guarded(graph: Graph) -> Graph:
    """The graph with every function that is given a shared payload watched: changing it is the event's failure.

    Branches run one after the other on one object, and a retry of one of them comes after the others: what a function
    changes in place, another one sees or not by chance.
    """
    found: set[int] = set()
    for node in graph:
        if len(graph.consumers(node.id)) > 1:
            _below(graph, node, found)
    return replace(graph, nodes=tuple(_watched(node) if node.id in found else node for node in graph))


def _below(graph: Graph, node: nodes.Node, found: set[int]) -> None:
    """The stages that are given this very payload: a transform makes one of its own."""
    for one in graph.consumers(node.id):
        if one.id not in found:
            found.add(one.id)
            if not isinstance(one, nodes.Transform):
                _below(graph, one, found)


def _watched(node: nodes.Node) -> nodes.Node:
    match node:
        case nodes.Transform() | nodes.Filter() | nodes.Act():
            return replace(node, function=_watch(node.function))
        case nodes.Enrich():
            items = tuple((name, _watch(item) if isinstance(item, Function) else item) for name, item in node.items)
            return replace(node, items=items)
        case nodes.Infer():
            return replace(node, features=_watch(node.features), fallback=_watch(node.fallback))
    return node


def _watch(function: Any) -> Any:
    if function is None or isinstance(function.target, type):
        return function
    return replace(function, target=_WATCHES[function.kind](function.target, function.name))


def _check(before: bytes, payload: Any, name: str) -> None:
    if encode_any(payload) != before:
        raise Reject(f"{name}() changed the payload, which other branches share: return a changed copy instead")


def _plain(target: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(target)
    def watched(payload: Any, **names: Any) -> Any:
        before = encode_any(payload)
        found = target(payload, **names)
        _check(before, payload, name)
        return found

    return watched


def _coroutine(target: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(target)
    async def watched(payload: Any, **names: Any) -> Any:
        before = encode_any(payload)
        found = await target(payload, **names)
        _check(before, payload, name)
        return found

    return watched


def _generator(target: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(target)
    def watched(payload: Any, **names: Any) -> Iterator[Any]:
        before = encode_any(payload)
        yield from target(payload, **names)
        _check(before, payload, name)

    return watched


def _async_generator(target: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(target)
    async def watched(payload: Any, **names: Any) -> AsyncIterator[Any]:
        before = encode_any(payload)
        async for one in target(payload, **names):
            yield one
        _check(before, payload, name)

    return watched


_WATCHES = {
    "plain": _plain,
    "coroutine": _coroutine,
    "generator": _generator,
    "async generator": _async_generator,
}
