"""Other functions in the place of a pipeline's own, for what calls out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from penstock.pipeline import graph as nodes
from penstock.pipeline.graph import Function, Graph


def stubbed(graph: Graph, stub: Mapping[Callable[..., Any], Callable[..., Any]]) -> Graph:
    """The graph with other functions in the place of those named. A stub that nothing uses is a mistake."""
    used: set[Callable[..., Any]] = set()

    def swap(function: Function | None) -> Function | None:
        if function is None or function.target not in stub:
            return function
        used.add(function.target)
        target = stub[function.target]
        return replace(function, target=target, kind="coroutine" if asyncio.iscoroutinefunction(target) else "plain")

    def one(node: nodes.Node) -> nodes.Node:
        match node:
            case nodes.Transform() | nodes.Filter() | nodes.Act():
                return replace(node, function=swap(node.function))
            case nodes.Enrich():
                items = tuple(
                    (name, (swap(item) or item) if isinstance(item, Function) else item) for name, item in node.items
                )
                return replace(node, items=items)
            case nodes.Infer():
                return replace(node, features=swap(node.features), fallback=swap(node.fallback))
        return node

    if not stub:
        return graph
    stubbed = replace(graph, nodes=tuple(one(node) for node in graph.nodes))
    unused = [getattr(function, "__name__", repr(function)) for function in stub if function not in used]
    if unused:
        raise ValueError(
            f"nothing in the pipeline calls {', '.join(unused)}: stub the function itself, as the declaration names it"
        )
    return stubbed
