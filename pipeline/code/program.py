"""Binding the written text to real functions, and reading a failure back out of its traceback."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Mapping
from types import CodeType, TracebackType
from typing import Any

import msgspec

from penstock.pipeline.code import FORMS, At, Form, Point, Slot, Text, form_of
from penstock.pipeline.graph import Graph, Node, Source
from penstock.stages.helper import Failure


class Found(msgspec.Struct, frozen=True):
    """Where something raised: the stage, and the values it had been given.

    `part` names the function of a stage that has several; `origin` is the source's own payload.
    """

    node: int
    payload: Any
    scope: tuple[tuple[str, Any], ...]
    path: tuple[int, ...]
    origin: Any = None
    part: str = ""


class Program:
    """The functions that run one source's events, made once when the pipeline starts.

    `run` is the function in the form the stages allow, `timed` its twin that measures each stage. `names` are the
    names the text uses: the user's functions and the engine's own.
    """

    def __init__(self, graph: Graph, source: Source, names: Mapping[str, Any], *, holding: bool) -> None:
        self.graph = graph
        self.source = source
        self.form: Form = form_of(graph, source)
        self.names = dict(names)
        self.holding = holding
        self.points: dict[CodeType, Mapping[int, Point]] = {}
        self.run = self._bind(self._write(timed=False), "")
        self.timed = self._bind(self._write(timed=True), "timed")
        self.admit = self._bind(Slot(graph, source).admit(), "admit")
        self._resumes: dict[tuple[Any, ...], Callable[..., Any]] = {}

    def resume(self, found: Found) -> Callable[..., Any]:
        """A coroutine function that goes on from the stage that failed, with the scope it had."""
        shape = (found.node, tuple(name for name, _ in found.scope), len(found.path))
        if shape not in self._resumes:
            at = At(
                "v",
                {name: f"s_{name}" for name, _ in found.scope},
                tuple(f"p{number}" for number in range(len(found.path))),
            )
            writer = Slot(self.graph, self.source, holding=self.holding)
            node = self.graph.node(found.node)
            self._resumes[shape] = self._bind(writer.resume(node, at), f"resume {node.stage or node.id}")
        return self._resumes[shape]

    def find(self, traceback: TracebackType | None) -> Found | None:
        """The stage that raised, from the first frame of the traceback that is a function of this program."""
        while traceback is not None:
            points = self.points.get(traceback.tb_frame.f_code)
            if points is not None:
                return self._found(points.get(traceback.tb_lineno), traceback.tb_frame.f_locals)
            traceback = traceback.tb_next
        return None

    def _found(self, point: Point | None, values: Mapping[str, Any]) -> Found:
        if point is None:
            return Found(self.source.id, None, (), (), values.get("v0"))
        path = tuple(int(step) if step.isdigit() else int(values[step]) for step in point.path)
        scope = [(name, values.get(variable)) for name, variable in point.scope]
        answered = tuple((name, value) for name, value in scope if value.__class__ is not Failure)
        return Found(point.node, values.get(point.payload), answered, path, values.get("v0"), point.part)

    def _write(self, *, timed: bool) -> Text:
        return FORMS[self.form](self.graph, self.source, timed=timed, holding=self.holding).write()

    def _bind(self, text: Text, variant: str) -> Callable[..., Any]:
        """Compile the text under a name of its own, which tracebacks and debuggers can show the lines of."""
        source = str(text)
        name = f"<penstock {self.graph.name} {self.source.stage} {variant or self.form}>"
        code = compile(source, name, "exec")
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        namespace = dict(self.names)
        exec(code, namespace)
        run: Callable[..., Any] = namespace["run"]
        self.points[run.__code__] = text.points
        return run


def text_of(graph: Graph, source: Node) -> str:
    """The text that would run for a source, for people to read (`penstock graph --code`)."""
    assert isinstance(source, Source)
    return str(FORMS[form_of(graph, source)](graph, source).write())
