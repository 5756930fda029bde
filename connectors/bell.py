"""What `receive` waits with: one coroutine waits, and whoever has something for it rings."""

from __future__ import annotations

import asyncio


class Bell:
    """Wakes the one who waits. A ring that nobody waits for is none: look at what there is before you wait."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Wait for the next ring."""
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None

    def ring(self) -> None:
        """Wake who waits. On the loop's thread."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
