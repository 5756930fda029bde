"""Calls, questions and moments as expressions."""

from __future__ import annotations

from typing import Any

from penstock.connectors.template import names as braces
from penstock.pipeline.code.forms import reachable
from penstock.pipeline.code.text import At, Point, Text
from penstock.pipeline.graph import Act, Enrich, Function, Graph, Infer, Node, Source
from penstock.stages.function import MISSING


class Expressions:
    """What a line of the text is made of, for one source.

    `timed` measures each stage. `holding` says that some sink keeps no order, so that keys wait for it.
    """

    def __init__(self, graph: Graph, source: Source, *, timed: bool = False, holding: bool = False) -> None:
        self.graph = graph
        self.source = source
        self.timed = timed
        self.holding = holding
        self.text = Text()
        self.numbers = 0
        after = reachable(graph, source)
        self.acts = any(isinstance(node, Act) for node in after)
        self.keyed = graph.order != "none"
        self.captured = any(braces(endpoint.address) for endpoint in source.endpoints)

    def _key_now(self) -> str:
        """The key where an action or an event is made."""
        return "key"

    def _new(self, letter: str) -> str:
        self.numbers += 1
        return f"{letter}{self.numbers}"

    def _arguments(self, function: Function, at: At) -> list[tuple[str, str]]:
        values = []
        for name in function.takes:
            if name == "event":
                values.append((name, f"describe(batch, i, v0, {self._key_now()})"))
            else:
                values.append((name, at.scope.get(name) or f"r_{name}"))
        return values

    def _call(self, function: Function, name: str, at: At) -> str:
        arguments = self._arguments(function, at)
        return f"{name}({', '.join([at.payload, *(f'{name}={value}' for name, value in arguments)])})"

    def _question(self, function: Function, at: At) -> str:
        return f"({', '.join([at.payload, *(value for _, value in self._arguments(function, at))])},)"

    def _result(self, function: Function, name: str, at: At) -> str:
        """A function's result as an expression: a call, an awaited one, or an asked one where options are set."""
        if function.inline:
            return self._call(function, name, at)
        if (
            function.kind == "coroutine"
            and not function.many
            and function.timeout is None
            and function.cache is None
            and not _has_default(function)
        ):
            return f"await {self._call(function, name, at)}"
        return f"await ask{name[1:]}({self._question(function, at)})"

    def _due(self, node: Node, name: str, received: str) -> str:
        """The moment an answer is due, as a further argument, for steps that have something to fall back on."""
        if isinstance(node, Infer):
            if node.deadline is not None:
                return f", now() + {node.deadline!r}"
            if node.fallback is not None and self.graph.latency_budget is not None:
                return f", {received} + {self.graph.latency_budget!r}"
            return ""
        if isinstance(node, Enrich) and self.graph.latency_budget is not None:
            item = dict(node.items)[name]
            if _has_default(item):
                return f", {received} + {self.graph.latency_budget!r}"
        return ""

    def _timed_line(self, node: Node, line: str, point: Point | None, part: str = "") -> None:
        if not self.timed:
            self.text.line(line, point)
            return
        start = self._new("t")
        self.text.line(f"{start} = perf_counter()")
        self.text.line(line, point)
        if part != "features":
            self.text.line(f"observe({node.id}, perf_counter() - {start})")


def _has_default(item: Any) -> bool:
    return getattr(item, "default", MISSING) is not MISSING
