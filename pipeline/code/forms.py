"""Where events go after a stage, and which form the stages after a source allow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from penstock.pipeline.graph import Act, Enrich, Filter, Function, Graph, Infer, Merge, Node, Source, Transform

Form = Literal["loop", "wave", "slot"]


def form_of(graph: Graph, source: Source) -> Form:
    """Which of the forms the stages after this source allow."""
    forms: set[Form] = {"loop"}
    for node in reachable(graph, source):
        forms |= set(_forms(node))
    return "slot" if "slot" in forms else "wave" if "wave" in forms else "loop"


def reachable(graph: Graph, node: Node) -> list[Node]:
    """Every stage after this one, once, in the order of the declaration."""
    found: dict[int, Node] = {}
    front = list(graph.consumers(node.id))
    while front:
        one = front.pop()
        if one.id not in found:
            found[one.id] = one
            front.extend(graph.consumers(one.id))
    return [found[number] for number in sorted(found)]


def ways(graph: Graph, node: Node) -> list[tuple[Node, tuple[str, ...]]]:
    """What consumes a stage's stream, merges passed through, each with its step of the path."""
    found: list[tuple[Node, tuple[str, ...]]] = []
    for one in graph.consumers(node.id):
        if isinstance(one, Merge):
            step = (str(one.inputs.index(node.id)),)
            found += [(after, step + path) for after, path in ways(graph, one)]
        elif not (isinstance(one, Filter) and one.twin is not None and one.negate):
            found.append((one, ()))
    return found


def _forms(node: Node) -> Iterator[Form]:
    functions = []
    if isinstance(node, Transform | Filter | Act) and node.function is not None:
        functions.append(node.function)
    if isinstance(node, Enrich):
        functions += [item for _, item in node.items if isinstance(item, Function)]
        if any(not isinstance(item, Function) for _, item in node.items):
            yield "wave"
    if isinstance(node, Infer):
        yield "wave"
        if node.features is not None and not node.features.inline:
            yield "slot"
    for function in functions:
        if function.many and not function.thread and function.kind == "plain" and function.timeout is None:
            yield "wave"
        elif not function.inline:
            yield "slot"
