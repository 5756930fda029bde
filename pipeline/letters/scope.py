"""What is left to do for a dead letter, as the graph has it."""

from __future__ import annotations

from penstock.connectors import Message
from penstock.pipeline.code.forms import reachable
from penstock.pipeline.graph import Graph
from penstock.pipeline.letters.letters import Letter
from penstock.stages.act import RECORD, parts_of


class Scope:
    """Tells what follows from where a letter's event failed. The rest is done, or has a letter of its own.

    A stage that the graph has no more leaves open what would have followed from it: then everything is due that is
    not known to be done.
    """

    def __init__(self, graph: Graph) -> None:
        self._from: dict[str, frozenset[str]] = {}
        for node in graph:  # the two sides of a split have one name, and fail as one
            name, after = node.called, [node, *reachable(graph, node)]
            self._from[name] = self._from.get(name, frozenset()) | {one.called for one in after}

    def due(self, letter: Letter, message: Message, to: str) -> bool:
        """Whether this action, on its way to the sink `to`, is still owed to the letter's event."""
        event, path = parts_of(message)
        if letter.action:
            same = message.stage == letter.stage_first and path == letter.path and to == letter.to
            return same and message.id.endswith(RECORD) == letter.action.endswith(RECORD)
        if message.id[len(event) :] in {id.removeprefix(letter.event) for id in letter.done}:
            return False
        return self.reaches(letter, message.stage, path)

    def reaches(self, letter: Letter, stage: str, path: tuple[int, ...]) -> bool:
        """Whether a stage, for this child of the event, follows from where the letter's event failed."""
        if letter.action:
            return False
        after = self._from.get(letter.stage_first)
        return after is None or (stage in after and path[: len(letter.path)] == letter.path)

    def concerns(self, letter: Letter, again: Letter) -> bool:
        """Whether what failed now keeps the letter's event from being finished: a branch beside it does not."""
        after = self._from.get(letter.stage_first)
        if after is None:
            return True
        depth = len(again.path)
        before = letter.stage_first in self._from.get(again.stage, ()) and letter.path[:depth] == again.path
        if letter.action:
            return before or again.action != ""
        return before or (again.stage in after and again.path[: len(letter.path)] == letter.path)
