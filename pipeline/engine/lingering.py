"""Events that run for long: a function that never returns appears in no log of failures."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from penstock.connectors import Batch

if TYPE_CHECKING:
    from penstock.pipeline.engine.engine import Engine

log = logging.getLogger("penstock")

LOOK = 20.0
"""Seconds between looks."""

LONG = 60.0
"""Seconds in one stage, from which an event is told of."""


class Place(NamedTuple):
    """An event that a coroutine stands at: its record, its id, and the stage."""

    batch: Batch
    number: int
    event: str
    stage: str


class Lingering:
    """Looks now and then at what the coroutines of an engine stand at, and tells of those that do not go on.

    Nothing is noted while events flow: a coroutine that waits has everything in its frames.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._since: dict[asyncio.Task[None], tuple[Place, float]] = {}
        self._told: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Look from now on, if anything of a user's may suspend."""
        if any(lane.program.form == "slot" for lane in self.engine.lanes):
            self._timer = asyncio.get_running_loop().call_later(LOOK, self._look)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def standing(self) -> str:
        """Where events stand now, for a line of the log: `2 in slow, 1 in decide`; empty where it is not known."""
        counts = Counter(place.stage for _, place in self._places())
        return ", ".join(f"{count:,} in {stage}" for stage, count in counts.items())

    def _look(self) -> None:
        self.begin()
        now, before = asyncio.get_running_loop().time(), self._since
        self._since = {}
        for task, place in self._places():
            known, since = before.get(task, (place, now))
            same = known.batch is place.batch and known[1:] == place[1:]
            self._since[task] = (place, since if same else now)
            if not same:
                self._told.discard(task)
        self._told &= self._since.keys()
        if self.engine.outages.down:
            return  # that is told already
        late = [(task, place) for task, (place, since) in self._since.items() if now - since >= LONG]
        fresh = [(task, place) for task, place in late if task not in self._told]
        self._told.update(task for task, _ in fresh)
        for stage, count in Counter(place.stage for _, place in fresh).items():
            first = next(place for _, place in fresh if place.stage == stage)
            who = f"event {first.event} has" if count == 1 else f"{count:,} events, {first.event} for one, have"
            log.warning(
                "%s been in %s for more than %.0f s: what never returns holds up its key, and the confirmation of its "
                'partition; a time-out ends it, as in call(function, timeout="5s")',
                who,
                stage,
                LONG,
            )

    def _places(self) -> Iterator[tuple[asyncio.Task[None], Place]]:
        """What each coroutine that runs events stands at."""
        for task in self.engine.running():
            for frame in _frames(task.get_coro()):
                place = self._place(frame)
                if place is not None:
                    yield task, place
                    break

    def _place(self, frame: FrameType) -> Place | None:
        for lane in self.engine.lanes:
            point = lane.program.points.get(frame.f_code, {}).get(frame.f_lineno)
            if point is not None:
                values = frame.f_locals
                batch, index = values.get("batch"), values.get("i")
                if isinstance(batch, Batch) and isinstance(index, int):
                    event = lane.records.identify(batch, index, values.get("v0"))
                    return Place(batch, index, event, self.engine.graph.node(point.node).stage)
        return None


def _frames(coroutine: Any) -> Iterator[FrameType]:
    """The frames of a coroutine that waits, and of those that it waits for, from the outermost."""
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        yield frame
        coroutine = coroutine.cr_await
