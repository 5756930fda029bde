"""The form for stages in which only the engine's own steps suspend: many events go through each step together."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.pipeline.code.text import At, Point, Text, without
from penstock.pipeline.code.tree import Tree
from penstock.pipeline.graph import Act, Enrich, Filter, Function, Infer, Node


class Wave(Tree):
    """A coroutine function that takes rows of distinct keys from first stage to last.

    Where a step suspends, each row is parked in a list with its question; when all rows of the wave have come so far,
    the questions are asked as one, and a second loop goes on with the answers.
    """

    form = "wave"
    waiting: list[tuple[Node, At, str, list[str]]]

    def write(self) -> Text:
        text, self.waiting = self.text, []
        with text.block("async def run(rows):"):
            text.line("flights = {}")
            if self.acts:
                text.line("outs = [[] for _ in rows]")
            with text.block("for j, (batch, i, v0, key) in enumerate(rows):"):
                if self.acts:
                    text.line("out = outs[j]")
                with text.block("try:"):
                    self._follow(self.source, At("v0", {}))
                self._row_failed()
            self._declare_lists(2)
            while self.waiting:
                self._continue(*self.waiting.pop(0))
            with text.block("for j, (batch, i, v0, key) in enumerate(rows):"):
                with text.block("if flights and j in flights:"):
                    text.line("troubled(flights[j])")
                    text.line("continue")
                if self.acts:
                    text.line("out = outs[j]")
                self._end_of_event()
        return text

    def _row_failed(self) -> None:
        with self.text.block("except BaseException as error:"):
            self.text.line(f"flights[j] = failed(error, flights.get(j), batch, i, {self._out()}, v0, key)")

    def _declare_lists(self, at: int) -> None:
        """The lists that rows park in must exist before the loop that fills them."""
        for _, _, name, questions in self.waiting:
            if f"    p_{name} = []" in self.text.lines:
                continue
            new = [f"    p_{name} = []", *(f"    q_{one} = []" for one in questions)]
            self.text.lines[at:at] = new
            self.text.points = {
                number + (len(new) if number > at else 0): point for number, point in self.text.points.items()
            }

    def _branch_failed(self) -> None:
        self._row_failed()

    def _gathered(self, node: Node, function: Function, at: At) -> bool:
        if function.many:
            self._park(node, at, [(f"{node.id}", self._question(function, at))])
        return function.many

    def _ask(self, node: Enrich, at: At, asked: Sequence[tuple[str, str, str]]) -> None:
        self._park(node, at, [(tag, question) for _, tag, question in asked])

    def _predict(self, node: Infer, at: At, question: str) -> None:
        self._park(node, at, [(f"{node.id}", question)])

    def _park(self, node: Node, at: At, questions: list[tuple[str, str]]) -> None:
        """Set the row aside with its question, to go on when all rows of the wave have their answers."""
        name = self._new("w")
        point = at.point(node)
        asked = [self._new("q") for _ in questions]
        for variable, (_, question) in zip(asked, questions, strict=True):
            self.text.line(f"{variable} = {question}", point)
        for variable, (tag, _) in zip(asked, questions, strict=True):
            self.text.line(f"q_{name}_{tag}.append({variable})")
        self.text.line(f"p_{name}.append((j{at.variables}))")
        self.waiting.append((node, at, name, [f"{name}_{tag}" for tag, _ in questions]))

    def _continue(self, node: Node, at: At, name: str, questions: list[str]) -> None:
        """Ask for the whole wave, then go on with each row."""
        text, point = self.text, at.point(node)
        begin = len(text.lines)
        with text.block(f"if p_{name}:"):
            tags = [one.removeprefix(f"{name}_") for one in questions]
            with text.block("try:"):
                due = [self._due(node, tag.partition("_")[2], "rows[0][0].received") for tag in tags]
                asks = [f"ask_many{tag}(q_{name}_{tag}{by})" for tag, by in zip(tags, due, strict=True)]
                wait = f"(await {asks[0]},)" if len(asks) == 1 else f"await gather({', '.join(asks)})"
                self._timed_line(node, f"answers = {wait}", None)
            with text.block("except BaseException as error:"):
                text.line(f"answers = [[Failure(error)] * len(p_{name})] * {len(asks)}")
                text.line("if fatal(error): raise")
            values = [self._answer_of(node, tag) for tag in tags]
            with text.block(f"for (j{at.variables}), {', '.join(values)} in zip(p_{name}, *answers):"):
                text.line("batch, i, v0, key = rows[j]")
                if self.acts:
                    text.line("out = outs[j]")
                with text.block("try:"):
                    self._answered(node, at, values, point)
                self._row_failed()
        self._declare_lists(begin)

    def _answer_of(self, node: Node, tag: str) -> str:
        if isinstance(node, Enrich):
            return "s_" + tag.partition("_")[2]
        if isinstance(node, Infer):
            return f"s_{node.name}"
        return self._new("v")

    def _answered(self, node: Node, at: At, values: list[str], point: Point) -> None:
        scope = {**at.scope, **({value[2:]: value for value in values} if isinstance(node, Enrich) else {})}
        found = At(at.payload, scope, at.path)
        for value in values:
            with self.text.block(f"if {value}.__class__ is Failure:"):
                if isinstance(node, Infer) and node.fallback is not None:
                    call = self._call(node.fallback, f"fallback{node.id}", at)
                    self.text.line(f"{value} = fallen{node.id}({value}.error, {call})", at.point(node, "fallback"))
                elif isinstance(node, Enrich):
                    self.text.line(f"raise {value}.error", without(found, value).point(node, value[2:]))
                else:
                    self.text.line(f"raise {value}.error", point)
        match node:
            case Enrich():
                self._found(node, found)
            case Infer():
                self._follow(node, At(at.payload, {**at.scope, node.name: values[0]}, at.path))
            case Filter():
                self._sides(node, at, values[0])
            case Act():
                self._emit(node, at, values[0])
            case _:
                with self.text.block(f"if {values[0]} is None:"):
                    self.text.line(f"raise nothing{node.id}", point)
                self._follow(node, At(values[0], at.scope, at.path))
