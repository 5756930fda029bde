"""Drawing a graph: a text tree for terminals, Mermaid for documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from penstock.pipeline import graph as nodes
from penstock.pipeline.declaration.annotations import label
from penstock.pipeline.graph import Function, Graph, Node
from penstock.stages.seen import Seen

WIDTH = 10
"""Columns of the kinds' names."""


def tree(graph: Graph) -> str:
    """The graph as lines of text: each stage below what it consumes, branches indented.

    What follows a merge is drawn once, and referred to from its other inputs.
    """
    sources = [source for source in graph.sources if source.forward is None]
    return "\n".join([_headline(graph), *(line for source in sources for line in _below(graph, source))]) + "\n"


def mermaid(graph: Graph) -> str:
    """The graph as a Mermaid flowchart."""
    lines = ["flowchart LR"]
    for node in graph:
        opening, closing = _SHAPES.get(node.kind, ("[", "]"))
        lines.append(f'    n{node.id}{opening}"{_quoted(_label(node))}"{closing}')
        lines += [f"    n{one} --> n{node.id}" for one in node.inputs]
    for number, (address, ends) in enumerate(_endpoints(graph).items()):
        lines.append(f'    e{number}(["{_quoted(address)}"])')
        lines += [f"    e{number} --> n{node}" if inward else f"    n{node} --> e{number}" for node, inward in ends]
    return "\n".join(lines) + "\n"


_SHAPES = {
    "source": ("[/", "/]"),
    "filter": ("{{", "}}"),
    "of": ("{{", "}}"),
    "act": ("[\\", "\\]"),
    "through": ("[\\", "\\]"),
    "merge": ("((", "))"),
}


def _headline(graph: Graph) -> str:
    facts = [f"order by {graph.order}" if graph.order != "none" else "in no order", f"{graph.concurrency} in flight"]
    if graph.latency_budget is not None:
        facts.append(f"latency budget {_seconds(graph.latency_budget)}")
    return f"{graph.name}  ({', '.join(facts)})"


def _below(graph: Graph, source: Node) -> Iterator[str]:
    """A stage and what follows it, depth first; a chain stays in one column, branches move to the right."""
    drawn: set[int] = set()

    def follow(node: Node, mark: str, stem: str) -> Iterator[str]:
        if node.id in drawn:
            yield f"{mark}{node.kind:<{WIDTH}}(drawn above)"
            return
        drawn.add(node.id)
        after = graph.consumers(node.id)
        if isinstance(node, nodes.Forward):
            after = tuple(one for far in graph.sources if far.forward == node.id for one in graph.consumers(far.id))
        first, *more = _told(node)
        yield f"{mark}{node.kind:<{WIDTH}}{first}"
        for line in more:
            yield f"{stem}{'│' if after else '':<{WIDTH}}{line}"
        if len(after) == 1:
            yield from follow(after[0], stem, stem)
            return
        for one in after:
            last = one is after[-1]
            yield from follow(one, stem + ("└─ " if last else "├─ "), stem + ("   " if last else "│  "))

    yield from follow(source, "", "")


def _told(node: Node) -> list[str]:
    """What there is to say about a stage: its first line, then more."""
    match node:
        case nodes.Source():
            by = [f"{word} {_by(value)}" for word, value in _bys(node) if value is not None]
            return [", ".join(endpoint.address for endpoint in node.endpoints), ", ".join([label(node.schema), *by])]
        case nodes.Dedupe():
            return [f"within {_seconds(item.within)}" for _, item in node.items if isinstance(item, Seen)]
        case nodes.Enrich():
            return [f"{name} = {_helper(item)}" for name, item in node.items]
        case nodes.Infer():
            return _inferred(node)
        case nodes.Forward():
            return [node.to[0].address, f"{label(node.payload)}, key {_by(node.key)}"]
        case nodes.Act():
            to = ", ".join(endpoint.address for endpoint in node.to)
            return [f"{_call(node.function, node.stage)} ⇒ {to}"]
        case nodes.Filter():
            return [f"{'not ' if node.negate else ''}{_call(node.function, node.stage)}"]
        case nodes.Transform():
            return [f"{_call(node.function, node.stage)} → {label(node.payload)}"]
        case nodes.Of():
            return [label(node.type)]
        case nodes.Merge():
            return [label(node.payload)]
    return [""]


def _bys(node: nodes.Source) -> list[tuple[str, Any]]:
    return [("key", node.key), ("id", node.identity), ("time", node.time)]


def _inferred(node: nodes.Infer) -> list[str]:
    lines = [f"{node.name} = {node.model}"]
    if node.features is not None:
        lines.append(f"from {_call(node.features, '')}")
    if node.challenger is not None:
        lines.append(f"challenger {node.challenger} for {node.share:.0%} of the keys")
    if node.shadow is not None:
        lines.append(f"shadow {node.shadow}")
    if node.deadline is not None:
        lines.append(f"deadline {_seconds(node.deadline)}")
    if node.fallback is not None:
        lines.append(f"fallback {_call(node.fallback, '')}")
    return lines


def _call(function: Function | None, stage: str) -> str:
    """A function with the names it takes; one that nothing adds, so that its default stays, is shown as such."""
    if function is None:
        return stage
    takes = [*function.takes, *(f"{name}=default" for name in function.absent)]
    options = [word for word, given in (("thread", function.thread), ("batched", function.many)) if given]
    if function.kind != "plain":
        options.insert(0, {"coroutine": "async"}.get(function.kind, function.kind))
    if function.timeout is not None:
        options.append(f"within {_seconds(function.timeout)}")
    own = getattr(function.target, "__name__", stage or function.name)
    name = stage if own in (stage, "<lambda>") else f"{stage}: {own}" if stage else own
    how = f" [{', '.join(options)}]" if options else ""
    return f"{name}({', '.join(takes)}){how}"


def _helper(item: Any) -> str:
    if isinstance(item, Function):
        return _call(item, "")
    given = [f'"{item.template}"'] if hasattr(item, "template") else []
    if hasattr(item, "by"):
        given.append(f"by {_by(item.by)}")
    if getattr(item, "missing", None) is not None:
        given.append(f'missing="{item.missing}"')
    if getattr(item, "cache", None) is not None:
        given.append(f"cache {_seconds(item.cache)}")
    return f"{type(item).__name__.lower()}({', '.join(given)}) → {label(item.answer)}"


def _by(by: Any) -> str:
    if isinstance(by, tuple):
        return "+".join(by)
    return by if isinstance(by, str) else getattr(by, "__name__", "a function")


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s"


def _label(node: Node) -> str:
    match node:
        case nodes.Infer():
            return f"infer {node.model}"
        case nodes.Of():
            return f"of {label(node.type)}"
        case nodes.Filter() if node.negate:
            return f"not {node.stage}"
        case nodes.Merge() | nodes.End():
            return node.kind
    return f"{node.kind} {node.stage}" if node.kind not in node.stage else node.stage


def _endpoints(graph: Graph) -> dict[str, list[tuple[int, bool]]]:
    """Every endpoint's address, with the stages it leads to (True) or comes from (False)."""
    found: dict[str, list[tuple[int, bool]]] = {}
    for source in graph.sources:
        for endpoint in source.endpoints:
            found.setdefault(endpoint.address, []).append((source.id, True))
    for act in graph.acts:
        for endpoint in act.to:
            found.setdefault(endpoint.address, []).append((act.id, False))
    return found


def _quoted(text: str) -> str:
    return text.replace('"', "#quot;")
