"""The far side of a `through`: a source stage whose events are those that went in."""

from __future__ import annotations

from typing import Any

from penstock.connectors import Batch, Event
from penstock.pipeline.engine.records import Records
from penstock.stages.forward import mark_of, restored


class FarRecords(Records):
    """What comes out of a topic, read as what went in."""

    def identify(self, batch: Batch, index: int, payload: Any) -> str:
        """The origin's identity, so that a message that the topic brings twice makes the same actions."""
        return mark_of(batch.event(index)) or super().identify(batch, index, payload)

    def describe(self, batch: Batch, index: int, payload: Any, key: Any) -> Event:
        """The `event` that a function asked for: the origin's, under the new key."""
        return restored(super().describe(batch, index, payload, key))
