"""Whether something new may start: the one place in which everything that speaks against it comes together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from penstock.pipeline.engine.outages import Outages
from penstock.pipeline.letters.letters import Letters

if TYPE_CHECKING:
    from penstock.pipeline.engine.lane import Lane

UNCONFIRMED = 20_000
"""Actions handed to sinks and not confirmed, past which nothing new starts."""

TROUBLED = 10_000
"""Events that failed and are not settled yet, past which nothing new starts."""


class Host(Protocol):
    """What the gate looks at."""

    lanes: list[Lane]
    letters: Letters
    outages: Outages
    stopping: bool


class Gate:
    """Shut for a lane while nothing new of it may start. Who asks is told; who waits goes on when it opens."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._opened: asyncio.Future[None] | None = None
        self._was_shut = False

    def shut(self, lane: Lane) -> bool:
        """Whether nothing new may start: an outage, too many actions unconfirmed, events in trouble or behind keys.

        The far side of a through goes on while its near side waits for room in the topic, or there would never be any.
        """
        host = self.host
        found = (
            bool(host.outages.down)
            or host.letters.full
            or sum([box.unsettled for box in lane.boxes]) > UNCONFIRMED
            or lane.trouble.flights > min(TROUBLED, host.letters.room)
            or lane.full
        )
        self._was_shut |= found
        return found

    async def opened(self, lane: Lane) -> None:
        """Wait until something new may start."""
        while self.shut(lane) and not self.host.stopping:
            if self._opened is None or self._opened.done():
                self._opened = asyncio.get_running_loop().create_future()
            await self._opened

    def open(self) -> None:
        """Let those who wait see for themselves."""
        if self._opened is not None and not self._opened.done():
            self._opened.set_result(None)

    def wake(self) -> None:
        """Something that kept events from starting is over."""
        self.open()
        for lane in self.host.lanes:
            lane.runner.wake()

    def relieved(self) -> None:
        """Actions were confirmed, or an event in trouble has ended: there may be room for new events."""
        if self._was_shut:
            shut = [self.shut(lane) for lane in self.host.lanes]
            self._was_shut = any(shut)
            if not all(shut):
                self.wake()
