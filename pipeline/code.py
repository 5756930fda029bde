"""Writing the function that runs one source's events through the stages that follow it.

The graph below a source is a tree (what follows a merge is written once for each way into it), and the tree becomes
the text of one Python function, with the names of the scope as its local variables. Three forms:

- *loop*: nothing suspends. A plain function runs a slice of a batch, event after event.
- *wave*: only the engine's own steps suspend (lookups, predictions, functions of lists). A coroutine function takes
  many events of distinct keys through each step together.
- *slot*: a user's coroutine suspends. A coroutine runs one event after another, each from first stage to last.

A fourth, *resume*, is a slot's body from one stage on, for a single event that failed there.

Nothing in the text records which stage is running: when something raises, the line number in the traceback says
which stage it was, and the frame's local variables are what it was given (`Point`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from penstock.connectors.template import names as braces
from penstock.pipeline.graph import Act, End, Enrich, Filter, Function, Graph, Infer, Merge, Node, Of, Source, Transform
from penstock.stages.function import MISSING
from penstock.stages.payload import is_mapping

Form = Literal["loop", "wave", "slot"]


@dataclass(frozen=True, slots=True)
class Point:
    """Where a line of the text stands: its stage, and which local variables hold what the stage was given."""

    node: int
    payload: str
    scope: tuple[tuple[str, str], ...]
    path: tuple[str, ...]


@dataclass
class Text:
    """Lines being written, and the point of each line that can fail."""

    lines: list[str] = field(default_factory=list)
    points: dict[int, Point] = field(default_factory=dict)
    depth: int = 0

    def line(self, text: str, point: Point | None = None) -> None:
        self.lines.append("    " * self.depth + text)
        if point is not None:
            self.points[len(self.lines)] = point

    @contextmanager
    def block(self, head: str, point: Point | None = None) -> Iterator[None]:
        self.line(head, point)
        self.depth += 1
        before = len(self.lines)
        yield
        if len(self.lines) == before:
            self.line("pass")
        self.depth -= 1

    def __str__(self) -> str:
        return "\n".join(self.lines) + "\n"


@dataclass(frozen=True, slots=True)
class At:
    """A place in the tree while writing: the variables that hold the payload, the scope and the path to here."""

    payload: str
    scope: Mapping[str, str]
    path: tuple[str, ...] = ()

    def point(self, node: Node) -> Point:
        return Point(node.id, self.payload, tuple(self.scope.items()), self.path)

    @property
    def variables(self) -> str:
        """Everything that the steps after this place may need, as a comma-separated list."""
        indexes = [index for index in self.path if not index.isdigit()]
        return "".join(f", {name}" for name in (self.payload, *self.scope.values(), *indexes))


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


class Writer:
    """Writes the text for one source. `text` collects it; the names it uses are bound by `pipeline.program`."""

    def __init__(self, graph: Graph, source: Source, form: Form, *, timed: bool = False, holding: bool = False) -> None:
        self.graph = graph
        self.source = source
        self.form = form
        self.timed = timed
        self.holding = holding
        self.text = Text()
        self.numbers = 0
        after = reachable(graph, source)
        self.acts = any(isinstance(node, Act) for node in after)
        self.keyed = graph.order != "none"
        self.captured = any(braces(endpoint.address) for endpoint in source.endpoints)
        self.waiting: list[tuple[Node, At, str, list[str]]] = []

    # -- the four forms ------------------------------------------------------------------------------------------

    def loop(self) -> Text:
        text = self.text
        with text.block("def run(batch, start, stop):"):
            text.line("values = batch.values")
            text.line("first = start")
            with text.block("for i in range(start, stop):"):
                self._fresh()
                with text.block("try:"):
                    self._decode()
                    if self._always_keyed():
                        self._read_key()
                    if self.keyed:
                        with text.block("if table:" if not self.holding else "if True:"):
                            if not self._always_keyed():
                                text.line(f"key = {self._key()}", self._origin())
                            with text.block("if key in table:"):
                                text.line("park(batch, i, key)")
                                self._settle_run()
                                text.line("continue")
                    self._follow(self.source, At("v0", {}))
                with text.block("except BaseException as error:"):
                    self._settle_run()
                    text.line(f"troubled(failed(error, {self._flight()}, batch, i, {self._out()}))")
                    text.line("continue")
                if self._branches():
                    with text.block("if flight is not None:"):
                        self._settle_run()
                        text.line("troubled(flight)")
                        text.line("continue")
                if self.acts:
                    with text.block("if out:"):
                        self._settle_run()
                        text.line("deliver(batch, i, out)" if not self.holding else "deliver_holding(batch, i, out, key)")
            with text.block("if first < stop:"):
                text.line("batch.settle_run(first, stop)")
        return text

    def admit(self) -> Text:
        """What slots and waves begin with: records of a batch into rows that are ready, or wait behind their key."""
        text = self.text
        with text.block("def run(batch, start, stop):"):
            text.line("values = batch.values")
            with text.block("for i in range(start, stop):"):
                with text.block("try:"):
                    self._decode()
                    self._read_key()
                    if self.source.key is None:
                        with text.block("if key is None:"):
                            text.line("push((batch, i, v0, None))")
                            text.line("continue")
                    if self.keyed:
                        with text.block("if key in table:"):
                            text.line("wait(key, (batch, i, v0, key))")
                            text.line("continue")
                        text.line("table[key] = None")
                    text.line("push((batch, i, v0, key))")
                with text.block("except BaseException as error:"):
                    text.line("refuse(error, batch, i)")
        return text

    def slot(self) -> Text:
        text = self.text
        with text.block("async def run(ready, refill, arrive):"):
            text.line("take = ready.popleft")
            if self.timed:
                text.line("rested = True")
            with text.block("while True:"):
                # The slot that measures rests after every event, so that what is timed is a sample.
                with text.block("if not ready and not refill():" if not self.timed else "if rested is False or not ready and not refill():"):
                    with text.block("if not await arrive():"):
                        text.line("return")
                    if self.timed:
                        text.line("rested = True")
                    text.line("continue")
                if self.timed:
                    text.line("rested = False")
                text.line("batch, i, v0, key = take()")
                self._fresh()
                with text.block("try:"):
                    self._follow(self.source, At("v0", {}))
                with text.block("except BaseException as error:"):
                    text.line(f"troubled(failed(error, {self._flight()}, batch, i, {self._out()}, v0, key))")
                    text.line("continue")
                if self._branches():
                    with text.block("if flight is not None:"):
                        text.line("troubled(flight)")
                        text.line("continue")
                self._end_of_event()
        return text

    def wave(self) -> Text:
        text = self.text
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

    def resume(self, node: Node, at: At) -> Text:
        """From `node` on, for one event; `flight` carries what it has done so far."""
        text = self.text
        with text.block(f"async def run(flight, batch, i, v0, key, out{at.variables}):"):
            with text.block("try:"):
                self._stage(node, at)
            with text.block("except BaseException as error:"):
                text.line("failed(error, flight, batch, i, out, v0, key)")
        return text

    # -- parts of the forms --------------------------------------------------------------------------------------

    def _decode(self) -> None:
        """From a record's value to its payload. Objects are payloads already."""
        self.text.line("v0 = values[i]")
        with self.text.block("if v0.__class__ is bytes:"):
            self.text.line("v0 = decode(v0, batch, i)" if self.captured else "v0 = decode(v0)", self._origin())
        with self.text.block("elif v0 is None or v0.__class__ is BadEvent:"):
            self.text.line("v0 = unusual(v0)", self._origin())

    def _always_keyed(self) -> bool:
        """Whether a loop reads the key of every event: where one is declared, an event without it is refused."""
        return self.source.key is not None or self.holding

    def _read_key(self) -> None:
        self.text.line(f"key = {self._key()}", self._origin())
        if self.source.key is not None:
            with self.text.block("if key is None:"):
                self.text.line("raise keyless", self._origin())

    def _key(self) -> str:
        """The order key as an expression: a field is read in place, everything else through a function."""
        by = self.source.key
        if not isinstance(by, str) or self.graph.order == "partition":
            return "key_of(v0, batch, i)"
        if is_mapping(self.source.schema):
            return "v0" + "".join(f"[{name!r}]" for name in by.split("."))
        return f"v0.{by}"

    def _fresh(self) -> None:
        if self.acts:
            self.text.line("out = []")
        if self._branches():
            self.text.line("flight = None")

    def _flight(self) -> str:
        return "flight" if self._branches() else "None"

    def _out(self) -> str:
        return "out" if self.acts else "None"

    def _branches(self) -> bool:
        """Whether one event may fail in one place and go on in another."""
        after = [self.source, *reachable(self.graph, self.source)]
        return any(len(self._ways(node)) > 1 or self._yields(node) for node in after)

    def _yields(self, node: Node) -> bool:
        return isinstance(node, Transform) and node.function is not None and "generator" in node.function.kind

    def _origin(self) -> Point:
        return Point(self.source.id, "v0", (), ())

    def _settle_run(self) -> None:
        with self.text.block("if first < i:"):
            self.text.line("batch.settle_run(first, i)")
        self.text.line("first = i + 1")

    def _end_of_event(self) -> None:
        """Hand over the actions, or settle the event that has none; then let the next event of its key run."""
        text = self.text
        if self.acts:
            with text.block("if out:"):
                if self.holding:
                    with text.block("if deliver_holding(batch, i, out, key):"):
                        text.line("continue")
                else:
                    text.line("deliver(batch, i, out)")
            with text.block("else:"):
                self._settle()
        else:
            self._settle()
        if self.keyed and self.source.key is not None:
            self._let_go()
        elif self.keyed:
            with text.block("if key is not None:"):
                self._let_go()

    def _let_go(self) -> None:
        with self.text.block("if table[key] is None:"):
            self.text.line("del table[key]")
        with self.text.block("else:"):
            self.text.line("free(key)")

    def _settle(self) -> None:
        """`Batch.settle` in place, for an event that owes nothing but its own processing."""
        self.text.line("batch.owed[i] = 0")
        with self.text.block("if batch.changed is not None:"):
            self.text.line("batch.changed(batch)")

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
            self.text.points = {number + (len(new) if number > at else 0): point for number, point in self.text.points.items()}

    # -- the tree ------------------------------------------------------------------------------------------------

    def _ways(self, node: Node) -> list[tuple[Node, tuple[str, ...]]]:
        """What consumes this stage's stream, merges passed through, each with its step of the path."""
        ways: list[tuple[Node, tuple[str, ...]]] = []
        for one in self.graph.consumers(node.id):
            if isinstance(one, Merge):
                step = (str(one.inputs.index(node.id)),)
                ways += [(after, step + path) for after, path in self._ways(one)]
            elif not (isinstance(one, Filter) and one.twin is not None and one.negate):
                ways.append((one, ()))
        return ways

    def _follow(self, node: Node, at: At) -> None:
        ways = self._ways(node)
        for one, step in ways:
            here = At(at.payload, {name: var for name, var in at.scope.items() if name in self._scope_before(one)}, at.path + step)
            if len(ways) == 1:
                self._stage(one, here)
                continue
            with self.text.block("try:"):
                self._stage(one, here)
            self._branch_failed()

    def _scope_before(self, node: Node) -> set[str]:
        names: set[str] = set()
        for number in node.inputs:
            names |= set(self.graph.node(number).scope)
        return names

    def _branch_failed(self) -> None:
        if self.form == "wave":
            self._row_failed()
            return
        with self.text.block("except BaseException as error:"):
            tail = "" if self.form == "loop" else ", v0, key"
            self.text.line(f"flight = failed(error, flight, batch, i, {self._out()}{tail})")

    def _stage(self, node: Node, at: At) -> None:
        match node:
            case Transform():
                self._transform(node, at)
            case Filter():
                self._filter(node, at)
            case Of():
                with self.text.block(f"if isinstance({at.payload}, type{node.id}):"):
                    self._follow(node, at)
                with self.text.block("else:"):
                    self.text.line(f"counts[{node.id}] += 1")
            case Enrich():
                self._enrich(node, at)
            case Infer():
                self._infer(node, at)
            case Act():
                self._act(node, at)
            case End():
                pass

    def _transform(self, node: Transform, at: At) -> None:
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
        if self._waves(function):
            self._park(node, at, [(f"{node.id}", self._question(function, at))])
            return
        self._timed_line(node, f"{value} = {self._result(function, f'f{node.id}', at)}", point)
        with self.text.block(f"if {value} is None:"):
            self.text.line(f"raise nothing{node.id}", point)
        self._follow(node, At(value, at.scope, at.path))

    def _filter(self, node: Filter, at: At) -> None:
        assert node.function is not None
        if self._waves(node.function):
            self._park(node, at, [(f"{node.id}", self._question(node.function, at))])
            return
        keep = self._new("k")
        self._timed_line(node, f"{keep} = {self._result(node.function, f'f{node.id}', at)}", at.point(node))
        self._sides(node, at, keep)

    def _sides(self, node: Filter, at: At, keep: str) -> None:
        with self.text.block(f"if {keep}:"):
            self._follow(node, at)
        other = next((one for one in self.graph.nodes if isinstance(one, Filter) and one.twin == node.id), None)
        with self.text.block("else:"):
            if other is not None:
                self._follow(other, at)
            else:
                self.text.line(f"counts[{node.id}] += 1")

    def _enrich(self, node: Enrich, at: At) -> None:
        point, scope = at.point(node), dict(at.scope)
        asked: list[tuple[str, str, str]] = []
        for name, item in node.items:
            value = scope[name] = f"s_{name}"
            tag = f"{node.id}_{name}"
            if isinstance(item, Function) and item.inline:
                self._timed_line(node, f"{value} = {self._call(item, f'f{tag}', at)}", point)
            elif isinstance(item, Function):
                asked.append((name, tag, self._question(item, at)))
            else:
                asked.append((name, tag, f"question{tag}({at.payload})"))
        if not asked:
            self._follow(node, At(at.payload, scope, at.path))
        elif self.form == "wave":
            held = {name: var for name, var in scope.items() if name not in {one for one, _, _ in asked}}
            self._park(node, At(at.payload, held, at.path), [(tag, question) for _, tag, question in asked])
        else:
            parts = [f"ask{tag}({question}{self._by(node, name)})" for name, tag, question in asked]
            names = ", ".join(f"s_{name}" for name, _, _ in asked)
            wait = f"await {parts[0]}" if len(parts) == 1 else f"await gather({', '.join(parts)})"
            self._timed_line(node, f"{names} = {wait}", point)
            self._follow(node, At(at.payload, scope, at.path))

    def _infer(self, node: Infer, at: At) -> None:
        point, tag = at.point(node), f"{node.id}"
        features = at.payload
        if node.features is not None:
            features = self._new("x")
            self._timed_line(node, f"{features} = {self._result(node.features, f'f{node.id}', at)}", point, "features")
        question = f"question{tag}({features}, key)" if self.form != "loop" else f"question{tag}({features}, None)"
        if self.form == "wave":
            self._park(node, at, [(tag, question)])
            return
        value = f"s_{node.name}"
        asked = self._new("q")
        self.text.line(f"{asked} = {question}", point)
        if node.fallback is None:
            self._timed_line(node, f"{value} = await ask{tag}({asked}{self._by(node)})", point)
        else:
            with self.text.block("try:"):
                self._timed_line(node, f"{value} = await ask{tag}({asked}{self._by(node)})", point)
            with self.text.block("except Exception as trouble:"):
                self.text.line(f"{value} = fallen{tag}(trouble, {self._call(node.fallback, f'fallback{tag}', at)})", point)
        self._follow(node, At(at.payload, {**at.scope, node.name: value}, at.path))

    def _act(self, node: Act, at: At) -> None:
        assert node.function is not None
        if self._waves(node.function):
            self._park(node, at, [(f"{node.id}", self._question(node.function, at))])
            return
        result = self._new("a")
        self._timed_line(node, f"{result} = {self._result(node.function, f'f{node.id}', at)}", at.point(node))
        self._emit(node, at, result)

    def _emit(self, node: Act, at: At, result: str) -> None:
        key = "key_of(v0, batch, i)" if self.form == "loop" and not self._always_keyed() else "key"
        path = "".join(f"{index}, " for index in at.path)
        with self.text.block(f"if {result} is not None:"):
            self.text.line(f"build{node.id}(out, batch, i, v0, {key}, {at.payload}, {result}, ({path}))", at.point(node))
        self._follow(node, at)

    # -- waves ---------------------------------------------------------------------------------------------------

    def _waves(self, function: Function) -> bool:
        return self.form == "wave" and function.many

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
                asks = [f"ask_many{tag}(q_{name}_{tag}{self._wave_by(node, tag)})" for tag in tags]
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
        for value in values:
            with self.text.block(f"if {value}.__class__ is Failure:"):
                if isinstance(node, Infer) and node.fallback is not None:
                    call = self._call(node.fallback, f"fallback{node.id}", at)
                    self.text.line(f"{value} = fallen{node.id}({value}.error, {call})", point)
                else:
                    self.text.line(f"raise {value}.error", point)
        match node:
            case Enrich():
                scope = {**at.scope, **{value[2:]: value for value in values}}
                self._follow(node, At(at.payload, scope, at.path))
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

    # -- expressions ---------------------------------------------------------------------------------------------

    def _new(self, letter: str) -> str:
        self.numbers += 1
        return f"{letter}{self.numbers}"

    def _arguments(self, function: Function, at: At) -> list[tuple[str, str]]:
        values = []
        for name in function.takes:
            if name == "event":
                key = "key_of(v0, batch, i)" if self.form == "loop" and not self._always_keyed() else "key"
                values.append((name, f"describe(batch, i, v0, {key})"))
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
        if function.kind == "coroutine" and not function.many and function.timeout is None and function.cache is None and not _has_default(function):
            return f"await {self._call(function, name, at)}"
        return f"await ask{name[1:]}({self._question(function, at)})"

    def _by(self, node: Node, name: str = "") -> str:
        """The moment an answer is due, for steps that have something to fall back on."""
        return self._due(node, name, "batch.received")

    def _wave_by(self, node: Node, tag: str) -> str:
        return self._due(node, tag.partition("_")[2], "rows[0][0].received")

    def _due(self, node: Node, name: str, received: str) -> str:
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
