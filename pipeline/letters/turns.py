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
        self._under_way = False
        self._waiting: list[asyncio.Future[None]] = []

    async def take(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do this with the next turn. It raises what the work raises."""
        if self._under_way:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter
            if self._under_way:
                return await work()  # with the one that has just begun the turn for all who waited
        self._under_way = True
        try:
            return await work()
        finally:
            self._under_way = False
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                if not waiter.done():
                    waiter.set_result(None)
