"""Writing together what comes while something is being written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class Turns:
    """Work in turns: what comes while a turn is under way waits, and then goes out together, as one.

    One alone is not delayed. Many small writes to a server cost each a call of the system and a sync of its disk;
    together they cost about as much as one.
    """

    def __init__(self) -> None:
        self._turn: asyncio.Future[None] | None = None

    async def take(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do this with the next turn. It raises what the work raises."""
        if self._turn is not None:
            await asyncio.shield(self._turn)
        if self._turn is not None and not self._turn.done():
            return await work()  # with the one that has just begun the turn for all who waited
        turn = self._turn = asyncio.get_running_loop().create_future()
        try:
            return await work()
        finally:
            turn.set_result(None)
            if self._turn is turn:
                self._turn = None
