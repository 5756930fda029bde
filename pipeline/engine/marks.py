"""The marks that stages which update state are asked with, and where in the store they keep it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penstock.connectors import Batch
from penstock.connectors.mark import Mark
from penstock.connectors.watermark import Watermarks
from penstock.pipeline.graph import Source
from penstock.pipeline.letters.again import LetterBatch
from penstock.pipeline.place import has_positions
from penstock.stages.forward import mark_of
from penstock.stages.outcome import Reject


def space(group: str, stage: str, generation: str = "") -> str:
    """What the keys of one stage's state begin with; the state's own key follows.

    >>> space("card-fraud", "total"), space("card-fraud", "total", "1")
    ('penstock:card-fraud:state:total:', 'penstock:card-fraud:state@1:total:')
    """
    which = f"@{generation}" if generation else ""
    return f"penstock:{group}:state{which}:{stage.replace('%', '%25').replace(':', '%3A')}:"


class Marks:
    """Makes the mark of one event of a source: its position, or where it has none, its id.

    An id is scoped: a declared one by the source's stage, for it says the same whichever way the event came; any other
    by what the event itself calls its source.
    """

    def __init__(
        self,
        source: Source,
        declared: Callable[[Any], str],
        watermarks: Watermarks | None = None,
        floor: Callable[[Batch, int], str] | None = None,
    ) -> None:
        self.source = source
        self.blind = not any(has_positions(endpoint) for endpoint in source.endpoints)
        self.declared = declared
        self.watermarks = watermarks
        self.floor = floor or (lambda batch, index: batch.floor())
        self._batch: Batch | None = None
        self._origin = self._floor = ""
        self._copies = source.forward is not None

    def __call__(self, batch: Batch, index: int, payload: Any, path: tuple[int, ...], stage: str) -> Mark:
        """Raises `Reject` for an event that nothing tells from another, where repeats are to count once."""
        if batch is not self._batch:
            self._look(batch, index)
        origin = self._origin
        if not origin or self._copies:
            named = self._by_name(batch, index, payload, path, stage)
            if named is not None:
                return named
        results = batch.updates.get(index)
        if results is None:
            results = batch.updates[index] = {}
        marks = self.watermarks
        bound = marks.key if marks is not None and origin in marks.origins else ""
        return Mark(origin, batch.place(index), _way(path) if path else "", self._floor, "", bound, results)

    def _look(self, batch: Batch, index: int) -> None:
        """Note what is the same for all records of a batch. Its floor may rise meanwhile; a lower one is as good."""
        self._batch = batch
        self._origin = "" if isinstance(batch, LetterBatch) else batch.origin(index)
        self._floor = self.floor(batch, index) if self._origin else ""

    def _by_name(self, batch: Batch, index: int, payload: Any, path: tuple[int, ...], stage: str) -> Mark | None:
        """The mark of an event that is known by an id; None for one that is known by its position."""
        if isinstance(batch, LetterBatch):
            mark = batch.mark(stage, path)
            if mark.id and self.blind:
                # Its sender may repeat it after the replay, and then has the same id to show.
                return Mark(path=mark.path, id=self._identity(batch, index, payload), results=mark.results)
            return mark
        results = batch.updates.setdefault(index, {})
        if self._copies and (came := mark_of(batch.event(index))):
            # Its position is that of a copy, of which there may be several.
            return Mark(path=_way(path), id=f"{self.source.stage}#{came}", results=results)
        if self._origin:
            return None
        return Mark(path=_way(path), id=self._identity(batch, index, payload), results=results)

    def _identity(self, batch: Batch, index: int, payload: Any) -> str:
        declared = self.declared(payload)
        if declared:
            return f"{self.source.stage}#{declared}"
        if self.source.repeats == "once":
            raise Reject(f"the event's id ({self.source.identity}) is empty, so that a repeat would be counted twice")
        return f"{batch.event(index).source}#{batch.position(index)}"


def _way(path: tuple[int, ...]) -> str:
    return "".join([f".{step}" for step in path])
