"""A turn: of several processes that could do a thing, one does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import uuid

from penstock.connectors import Store
from penstock.errors import Unavailable

LASTS = 30.0
"""Seconds after which the turn of a process that is gone is over."""


class Turn:
    """A key of the store that one process holds for as long as it lives.

    It keeps processes from doing the same work side by side; it is no fence, for one that was stopped for longer than
    `LASTS` does not know that its turn is over.

    >>> from penstock.connectors.store.memory import MemoryStore
    >>> async def twice() -> list[str]:
    ...     store = MemoryStore()
    ...     first, second = Turn(store, "work"), Turn(store, "work")
    ...     found = [await first.take(), (await second.take()).partition(" ")[0]]
    ...     await first.release()
    ...     return [*found, await second.take(), await second.release() or ""]
    >>> asyncio.run(twice()) == ["", socket.gethostname(), "", ""]
    True
    """

    def __init__(self, store: Store, key: str) -> None:
        self.store = store
        self.key = key
        self._own = f"{socket.gethostname()} process {os.getpid()} {uuid.uuid4().hex}".encode()
        self._holding: asyncio.Task[None] | None = None

    async def take(self) -> str:
        """Take the turn; who has it, where that is somebody else. Raises `Unavailable`."""
        if self._holding is None:
            found = await self.store.settle(self.key, self._own, LASTS)
            if found is not None and found != self._own:
                return found.decode(errors="replace").rpartition(" ")[0]
            self._holding = asyncio.ensure_future(self._hold())
        return ""

    async def release(self) -> None:
        """Give it up. Safe to call twice."""
        if self._holding is not None:
            self._holding.cancel()
            self._holding = None
            with contextlib.suppress(Unavailable):
                await self.store.delete([self.key])

    async def _hold(self) -> None:
        while True:
            await asyncio.sleep(LASTS / 3)
            with contextlib.suppress(Unavailable):
                await self.store.write(self.key, self._own, ttl=LASTS)
