"""What stands around the stages of an event: its decoding and its key before them, its end behind them."""

from __future__ import annotations

from penstock.pipeline.code.expressions import Expressions
from penstock.pipeline.code.forms import reachable, ways
from penstock.pipeline.code.text import Point
from penstock.pipeline.graph import Node, Transform
from penstock.stages.payload import is_mapping


class Frame(Expressions):
    """Writes the beginning and the end of an event, which all forms have in common."""

    def _decode(self) -> None:
        """From a record's value to its payload. Objects are payloads already."""
        self.text.line("v0 = values[i]")
        with self.text.block("if v0.__class__ is bytes:"):
            self.text.line("v0 = decode(v0, batch, i)" if self.captured else "v0 = decode(v0)", self._origin())
        with self.text.block("elif v0 is None or v0.__class__ is BadEvent:"):
            self.text.line("v0 = unusual(v0)", self._origin())

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
        return any(len(ways(self.graph, node)) > 1 or _yields(node) for node in after)

    def _origin(self) -> Point:
        return Point(self.source.id, "v0", (), ())

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


def _yields(node: Node) -> bool:
    return isinstance(node, Transform) and node.function is not None and "generator" in node.function.kind
