"""Opening what a graph names, at once and patiently, and closing it quietly."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from penstock.errors import Unavailable

log = logging.getLogger("penstock")

FIRST_DELAY, LONGEST_DELAY = 0.25, 5.0
"""Seconds before a server that did not answer is asked again, at first and in the end."""


class Opening:
    """Opens what may not answer yet. `waits` holds what is still waited for, and why."""

    def __init__(self) -> None:
        self.waits: dict[str, str] = {}

    async def patiently(self, what: str, open_it: Callable[[], Awaitable[None]]) -> None:
        """Open, and while the server does not answer, say so and try again, ever more slowly."""
        delay = FIRST_DELAY
        while True:
            try:
                await open_it()
            except Unavailable as error:
                if what not in self.waits:
                    log.warning("waiting for %s: %s", what, error)
                self.waits[what] = str(error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, LONGEST_DELAY)
            else:
                if self.waits.pop(what, None) is not None:
                    log.warning("%s answers", what)
                return


async def together(*openings: Coroutine[Any, Any, None]) -> None:
    """Open at once what does not need each other. The first that cannot be opened ends the others."""
    tasks = [asyncio.ensure_future(opening) for opening in openings]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


async def quietly(what: str, close: Callable[[], Awaitable[None]]) -> None:
    """Close, so that closing goes on with the next where this fails."""
    try:
        await close()
    except Exception as error:
        log.warning("%s did not close: %s", what, error)
