"""The names of the scope: who adds one, why a stage does not have it, which may be chosen."""

from __future__ import annotations

import keyword
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from penstock.errors import DeclarationError, Where
from penstock.pipeline.graph import Node

if TYPE_CHECKING:
    from penstock.pipeline.declaration.pipeline import Draft

EVENT = "event"


class Names:
    """Who adds which name, told from the drafts and from the nodes made of them so far."""

    def __init__(
        self, drafts: Sequence[Draft], nodes: Sequence[Node], resources: Mapping[str, tuple[Any, Where]]
    ) -> None:
        self.drafts = drafts
        self.nodes = nodes
        self.resources = resources

    def adder(self, number: int, name: str) -> Where | None:
        """Where a name that a stage's scope has was added."""
        if name in self.resources:
            return self.resources[name][1]
        return next((self.drafts[one].where for one in self._before(number) if name in _adds(self.drafts[one])), None)

    def explain(self, number: int, name: str) -> str:
        """Why a stage has no such name, where another stage adds it."""
        draft = self.drafts[number]
        if name in _adds(draft):
            return "the names of one enrich are found at the same time, so put it into an .enrich(...) before this one"
        before = self._before(number)
        for one, other in enumerate(self.drafts):
            if name not in _adds(other):
                continue
            if one in before:
                merged = next(self.drafts[two].where for two in before if self._loses(two, name))
                return f"it was added at {other.where}, and lost at {merged}: a merge keeps what all its streams have"
            through = self._through(number, one)
            if through is not None:
                return (
                    f"it was added at {other.where}, and names end at the through at {through}: add it again after it"
                )
            if one > number:
                return f"it is added later, at {other.where}"
            return f"it is added at {other.where}, on another branch"
        return ""

    def _through(self, number: int, adder: int) -> Where | None:
        """The through between a stage and one that adds a name upstream of it."""
        seen: set[int] = set()
        front = [number]
        while front:
            one = front.pop()
            for far in {one, *self._before(one)}:
                near = self.drafts[far].given.get("forward")
                if near is None or near in seen:
                    continue
                seen.add(near)
                if adder in self._before(near):
                    return self.drafts[far].where
                front.append(near)
        return None

    def _before(self, number: int) -> list[int]:
        """The stages that lead to this one, the nearest first."""
        found: list[int] = []
        front = list(self.drafts[number].inputs)
        while front:
            one = front.pop(0)
            if one not in found:
                found.append(one)
                front.extend(self.drafts[one].inputs)
        return sorted(found, reverse=True)

    def _loses(self, number: int, name: str) -> bool:
        node = self.nodes[number]
        return name not in node.scope and any(name in self.nodes[one].scope for one in node.inputs)


def check_name(name: Any, scope: Mapping[str, Any], where: Where, adder: Where | None = None) -> None:
    """Refuse a name that functions could not ask for, or that would hide another."""
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
        raise DeclarationError(f"{name!r} cannot be a parameter's name: choose a plain word", where)
    if name == EVENT:
        raise DeclarationError(f"the name {name!r} is taken by the event itself: choose another", where)
    if name in scope:
        raise DeclarationError(f"the name {name!r} is taken at {adder}: choose another, for example {name}_2", where)


def _adds(draft: Draft) -> tuple[str, ...]:
    """The names that a draft adds to the scope."""
    if draft.kind == "enrich":
        return tuple(draft.given["names"])
    return (draft.given["name"],) if draft.kind == "infer" else ()
