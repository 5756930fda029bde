"""Sessions of workers that are no more: what waits in them at the broker is taken over, and they are ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from penstock.connectors.batch import Batch
from penstock.connectors.mqtt.link import Link
from penstock.connectors.mqtt.source import MqttSource

log = logging.getLogger("penstock.mqtt")

PAUSE = 0.2
"""Seconds between two looks whether everything of a session is finished."""


class FormerSource(MqttSource):
    """The session of a worker that may be no more."""

    _hand_over: Callable[[Sequence[Batch]], None]

    async def adopt(self, hand_over: Callable[[Sequence[Batch]], None]) -> bool:
        """Take the session: whether there is one.

        It gets nothing new from now on; what waits in it goes to `hand_over`. Raises `Unavailable` or `ConfigError`.
        """
        self._loop = asyncio.get_running_loop()
        self._hand_over = hand_over
        self._link = link = Link(self._broker, self._client_id, self, keeps=True, yields=True)
        try:
            await link.open()
            if link.resumed:
                for subscription in (self._subscription, self._otherwise):
                    await link.requests.unsubscribe(subscription)
                self._problem = None
                return True
        except BaseException:
            await link.close()
            raise
        await link.close(forget=True)
        return False

    async def emptied(self) -> None:
        """Wait until everything that waited in the session is finished, and the broker knows."""
        assert self._link is not None
        while not self._link.lost:
            before = self._received
            # The broker sends what there is for a place that became free before it answers this.
            await self.confirm()
            if not self._owed and self._received == before and self._link.problem is None:
                return
            await asyncio.sleep(PAUSE)

    async def forget(self) -> None:
        """Leave, and have the broker end the session, unless somebody else has it now."""
        link, self._link = self._link, None
        if link is not None:
            await link.close(forget=not link.lost)

    def _wake(self) -> None:
        if not self._stopped:
            ready, self._ready, self._held = self._ready, [], 0
            self._hand_over(ready)


class Former:
    """The workers above the number that there are now: each has left a session if it ever ran.

    Their numbers are contiguous, and sessions are ended from the last to the first, so that whoever dies in between
    finds the rest again. A worker that turns out to be alive takes its session back.
    """

    def __init__(self, make: Callable[[int], FormerSource], first: int) -> None:
        self._make = make
        self._first = first
        self._sources: list[FormerSource] = []

    async def adopt(self, hand_over: Callable[[Sequence[Batch]], None]) -> None:
        """Find them; they get nothing new from now on, and what waits for them is handed over.

        Raises `Unavailable` or `ConfigError`.
        """
        while True:
            number = self._first + len(self._sources)
            source = self._make(number)
            if not await source.adopt(hand_over):
                return
            log.info("%s: taking over what waits for worker %d, which is no more", source.name, number)
            self._sources.append(source)

    async def drain(self) -> None:
        """End each session when all that came from it is finished."""
        while self._sources:
            source = self._sources[-1]
            await source.emptied()
            self._sources.pop()
            await source.forget()
            log.info("%s: what waited for worker %d is finished", source.name, self._first + len(self._sources))

    async def confirm(self) -> None:
        """Acknowledge what is finished of theirs."""
        for source in list(self._sources):
            await source.confirm()

    async def close(self) -> None:
        """Leave what is not finished to the next start."""
        sources, self._sources = self._sources, []
        for source in sources:
            await source.close()
