"""The far side of a `through`: a source stage whose events are those that went in."""

from __future__ import annotations

from typing import Any

from penstock.connectors import Batch, Event
from penstock.connectors.mark import Mark
from penstock.pipeline.lane import Lane
from penstock.stages.forward import mark_of, restored


class FarLane(Lane):
    """The lane of what comes out of a topic as what went in."""

    def engine_names(self) -> dict[str, Any]:
        """Those of every lane; updates of state are guarded by the origin's identity."""
        names = super().engine_names()
        return {**names, "mark": FarMarks(self, names["mark"])}

    def identify(self, batch: Batch, index: int, payload: Any) -> str:
        """The origin's identity, so that a message that the topic brings twice makes the same actions."""
        return mark_of(batch.event(index)) or super().identify(batch, index, payload)

    def describe(self, batch: Batch, index: int, payload: Any, key: Any) -> Event:
        """The `event` that a function asked for: the origin's, under the new key."""
        return restored(super().describe(batch, index, payload, key))


class FarMarks:
    """Makes the mark of an event from its origin's identity: the topic may bring one event at two places."""

    def __init__(self, lane: Lane, near: Any) -> None:
        self.lane = lane
        self.near = near

    def __call__(self, batch: Batch, index: int, payload: Any, path: tuple[int, ...]) -> Mark:
        """The origin's, or for what others wrote to the topic, its place there."""
        origin = mark_of(batch.event(index))
        if not origin:
            mark: Mark = self.near(batch, index, payload, path)
            return mark
        way = "".join([f".{step}" for step in path])
        return Mark(path=way, id=f"{self.lane.source.stage}#{origin}", results=batch.updates.setdefault(index, {}))
