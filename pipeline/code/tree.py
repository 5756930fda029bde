"""Stages as text: what every form has in common."""

from __future__ import annotations

from typing import ClassVar

from penstock.pipeline import graph as nodes
from penstock.pipeline.code.forms import Form, ways
from penstock.pipeline.code.frame import Frame
from penstock.pipeline.code.text import At, Text, without
from penstock.stages.helper import updating
from penstock.stages.seen import Seen


class Tree(Frame):
    """Walks the tree below one source and writes its stages as calls. Each form says the rest."""

    form: ClassVar[Form]

    def write(self) -> Text:
        """The whole function for the source."""
        raise NotImplementedError

    def _gathered(self, node: nodes.Node, function: nodes.Function, at: At) -> bool:
        """Whether the form asks a function of lists for many events together, and has written that."""
        return False

    def _follow(self, node: nodes.Node, at: At) -> None:
        found = ways(self.graph, node)
        for one, step in found:
            here = At(
                at.payload,
                {name: var for name, var in at.scope.items() if name in self._scope_before(one)},
                at.path + step,
            )
            if len(found) == 1:
                self._stage(one, here)
                continue
            with self.text.block("try:"):
                self._stage(one, here)
            self._branch_failed()

    def _scope_before(self, node: nodes.Node) -> set[str]:
        names: set[str] = set()
        for number in node.inputs:
            names |= set(self.graph.node(number).scope)
        return names

    def _branch_failed(self) -> None:
        """One branch of the event failed; the others go on."""
        with self.text.block("except BaseException as error:"):
            self.text.line(f"flight = failed(error, flight, batch, i, {self._out()}, v0, key)")

    def _stage(self, node: nodes.Node, at: At) -> None:
        match node:
            case nodes.Transform():
                self._transform(node, at)
            case nodes.Filter():
                self._filter(node, at)
            case nodes.Of():
                with self.text.block(f"if isinstance({at.payload}, type{node.id}):"):
                    self._follow(node, at)
                with self.text.block("else:"):
                    self.text.line(f"counts[{node.id}] += 1")
            case nodes.Enrich():
                self._enrich(node, at)
            case nodes.Infer():
                self._infer(node, at)
            case nodes.Forward():
                self._forward(node, at)
            case nodes.Act():
                self._act(node, at)
            case nodes.End():
                pass

    def _transform(self, node: nodes.Transform, at: At) -> None:
        assert node.function is not None
        function, point = node.function, at.point(node)
        value = self._new("v")
        if "generator" in function.kind:
            index, call = self._new("n"), self._call(function, f"f{node.id}", at)
            many = f"[*{call}]" if function.kind == "generator" else f"[one async for one in {call}]"
            items = self._new("l")
            self._timed_line(node, f"{items} = {many}", point)
            with self.text.block(f"for {index}, {value} in enumerate({items}):"):
                with self.text.block("try:"):
                    self._follow(node, At(value, at.scope, (*at.path, index)))
                self._branch_failed()
            return
        if self._gathered(node, function, at):
            return
        self._timed_line(node, f"{value} = {self._result(function, f'f{node.id}', at)}", point)
        with self.text.block(f"if {value} is None:"):
            self.text.line(f"raise nothing{node.id}", point)
        self._follow(node, At(value, at.scope, at.path))

    def _filter(self, node: nodes.Filter, at: At) -> None:
        assert node.function is not None
        if self._gathered(node, node.function, at):
            return
        keep = self._new("k")
        self._timed_line(node, f"{keep} = {self._result(node.function, f'f{node.id}', at)}", at.point(node))
        self._sides(node, at, keep)

    def _sides(self, node: nodes.Filter, at: At, keep: str) -> None:
        with self.text.block(f"if {keep}:"):
            self._follow(node, at)
        other = next((one for one in self.graph.nodes if isinstance(one, nodes.Filter) and one.twin == node.id), None)
        with self.text.block("else:"):
            if other is not None:
                self._follow(other, at)
            else:
                self.text.line(f"counts[{node.id}] += 1")

    def _enrich(self, node: nodes.Enrich, at: At) -> None:
        """What it adds, one after the other where nothing waits, else all at once.

        A name that is in the scope already was found before another one failed: it is not asked for again.
        """
        scope = dict(at.scope)
        asked: list[tuple[str, str, str]] = []
        for name, item in node.items:
            if name in at.scope:
                continue
            tag = f"{node.id}_{name}"
            if isinstance(item, nodes.Function) and item.inline:
                point = At(at.payload, scope, at.path).point(node, name)
                self._timed_line(node, f"s_{name} = {self._call(item, f'f{tag}', at)}", point)
                scope[name] = f"s_{name}"
            elif isinstance(item, nodes.Function):
                asked.append((name, tag, self._question(item, at)))
            elif updating(item):
                asked.append(
                    (name, tag, f"(question{tag}({at.payload}), mark(batch, i, v0, {at.steps}, {node.stage!r}))")
                )
            elif isinstance(item, Seen):
                asked.append((name, tag, f"question{tag}({at.payload}, batch, i, {at.steps})"))
            else:
                asked.append((name, tag, f"question{tag}({at.payload})"))
        if not asked:
            self._found(node, At(at.payload, scope, at.path))
        else:
            self._ask(node, At(at.payload, scope, at.path), asked)

    def _ask(self, node: nodes.Enrich, at: At, asked: list[tuple[str, str, str]]) -> None:
        """Ask for what an enrich adds, all of it at once: names, tags and questions."""
        parts = [f"ask{tag}({question}{self._due(node, name, 'batch.received')})" for name, tag, question in asked]
        values = [f"s_{name}" for name, _, _ in asked]
        found = At(at.payload, {**at.scope, **{name: f"s_{name}" for name, _, _ in asked}}, at.path)
        if len(parts) == 1:
            self._timed_line(node, f"{values[0]} = await {parts[0]}", at.point(node, asked[0][0]))
        else:
            self._timed_line(node, f"{', '.join(values)} = await together({', '.join(parts)})", at.point(node))
            for value in values:
                with self.text.block(f"if {value}.__class__ is Failure:"):
                    self.text.line(f"raise {value}.error", without(found, value).point(node, value[2:]))
        self._found(node, found)

    def _found(self, node: nodes.Enrich, at: At) -> None:
        """What follows when everything an enrich adds is there."""
        if not isinstance(node, nodes.Dedupe):
            self._follow(node, at)
            return
        [(name, _)] = node.items
        with self.text.block(f"if {at.scope[name]}:"):
            self.text.line(f"counts[{node.id}] += 1")
        with self.text.block("else:"):
            self._follow(node, at)

    def _infer(self, node: nodes.Infer, at: At) -> None:
        features = at.payload
        if node.features is not None:
            features = self._new("x")
            line = f"{features} = {self._result(node.features, f'f{node.id}_features', at)}"
            self._timed_line(node, line, at.point(node, "features"), "features")
        self._predict(node, at, f"question{node.id}({features}, key)")

    def _predict(self, node: nodes.Infer, at: At, question: str) -> None:
        """Ask the model, and fall back where that fails."""
        point, tag = at.point(node), f"{node.id}"
        value, asked = f"s_{node.name}", self._new("q")
        self.text.line(f"{asked} = {question}", point)
        ask = f"{value} = await ask{tag}({asked}{self._due(node, '', 'batch.received')})"
        if node.fallback is None:
            self._timed_line(node, ask, point)
        else:
            with self.text.block("try:"):
                self._timed_line(node, ask, point)
            with self.text.block("except Exception as trouble:"):
                fallback = self._call(node.fallback, f"fallback{tag}", at)
                self.text.line(f"{value} = fallen{tag}(trouble, {fallback})", at.point(node, "fallback"))
        self._follow(node, At(at.payload, {**at.scope, node.name: value}, at.path))

    def _act(self, node: nodes.Act, at: At) -> None:
        assert node.function is not None
        if self._gathered(node, node.function, at):
            return
        result = self._new("a")
        self._timed_line(node, f"{result} = {self._result(node.function, f'f{node.id}', at)}", at.point(node))
        self._emit(node, at, result)

    def _forward(self, node: nodes.Forward, at: At) -> None:
        build = f"build{node.id}(out, batch, i, v0, {self._key_now()}, {at.payload}, {at.steps})"
        self._timed_line(node, build, at.point(node))

    def _emit(self, node: nodes.Act, at: At, result: str) -> None:
        before = f"out, batch, i, v0, {self._key_now()}, {at.payload}"
        with self.text.block(f"if {result} is not None:"):
            self.text.line(f"build{node.id}({before}, {result}, {at.steps})", at.point(node))
            if self.graph.record is not None:
                found = ", ".join(f"{name!r}: {variable}" for name, variable in at.scope.items())
                whole = f"whole{node.id}({at.payload}, {result}, {{{found}}})"
                self.text.line(f"record{node.id}({before}, {whole}, {at.steps})", at.point(node))
        with self.text.block("else:"):
            self.text.line(f"counts[{node.id}] += 1")
        self._follow(node, at)
