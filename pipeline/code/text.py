"""Lines of a function being written, and what each line stands for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import msgspec

from penstock.pipeline.graph import Node


class Point(msgspec.Struct, frozen=True):
    """Where a line of the text stands: its stage, and which local variables hold what the stage was given.

    `part` says which function of a stage that has several: the name that an enrich adds, `features` or `fallback`.
    """

    node: int
    payload: str
    scope: tuple[tuple[str, str], ...]
    path: tuple[str, ...]
    part: str = ""


class Text(msgspec.Struct, eq=False):
    """Lines being written, and the point of each line that can fail."""

    lines: list[str] = msgspec.field(default_factory=list)
    points: dict[int, Point] = msgspec.field(default_factory=dict)
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


class At(msgspec.Struct, frozen=True):
    """A place in the tree while writing: the variables that hold the payload, the scope and the path to here."""

    payload: str
    scope: Mapping[str, str]
    path: tuple[str, ...] = ()

    def point(self, node: Node, part: str = "") -> Point:
        return Point(node.id, self.payload, tuple(self.scope.items()), self.path, part)

    @property
    def steps(self) -> str:
        """The path to here, as a tuple."""
        return f"({''.join(f'{index}, ' for index in self.path)})"

    @property
    def variables(self) -> str:
        """Everything that the steps after this place may need, as a comma-separated list."""
        indexes = [index for index in self.path if not index.isdigit()]
        return "".join(f", {name}" for name in (self.payload, *self.scope.values(), *indexes))


def without(at: At, variable: str) -> At:
    """The same place, with one variable of its scope not there yet."""
    return At(at.payload, {name: one for name, one in at.scope.items() if one != variable}, at.path)
