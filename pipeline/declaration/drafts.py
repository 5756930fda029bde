"""From each call of the declaration to a node of the graph: payload types, scopes, wired functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from penstock.errors import Where
from penstock.pipeline.declaration import ends, steps
from penstock.pipeline.declaration.making import Making
from penstock.pipeline.declaration.names import Names
from penstock.pipeline.graph import Node

if TYPE_CHECKING:
    from penstock.pipeline.declaration.pipeline import Draft

KINDS: Mapping[str, Callable[[Making], Node]] = {
    "source": ends.source,
    "dedupe": ends.dedupe,
    "through": ends.through,
    "forward": ends.forward,
    "act": ends.act,
    "transform": steps.transform,
    "filter": steps.filter,
    "of": steps.of,
    "enrich": steps.enrich,
    "infer": steps.infer,
    "merge": steps.merge,
    "end": steps.end,
}
"""By the kind of a draft, what makes its node."""


def nodes_of(drafts: Sequence[Draft], resources: Mapping[str, tuple[Any, Where]]) -> list[Node]:
    """All nodes, in the order of their declaration. Raises `DeclarationError` at the first mistake."""
    made: list[Node] = []
    names = Names(drafts, made, resources)
    scope = {name: kind for name, (kind, _) in resources.items()}
    stages: dict[str, Where] = {}
    for number, draft in enumerate(drafts):
        made.append(KINDS[draft.kind](Making(number, draft, made, names, scope, stages)))
    return made
