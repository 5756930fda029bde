"""What a sink has taken and not yet reported: outcomes of one loop tick go out together."""

from __future__ import annotations

import asyncio

from penstock.connectors.event import Message
from penstock.connectors.protocol import Settled


class Tally:
    """Counts messages in, reports them out, and knows when none is left. Belongs to the running loop."""

    def __init__(self, settled: Settled) -> None:
        self.left = 0
        self._settled = settled
        self._loop = asyncio.get_running_loop()
        self._confirmed: list[Message] = []
        self._failed: list[tuple[Message, BaseException]] = []
        self._scheduled = False
        self._idle: asyncio.Future[None] | None = None

    def settle(self, message: Message, error: BaseException | None = None) -> None:
        """One message's outcome, reported at the end of this tick."""
        if error is None:
            self._confirmed.append(message)
        else:
            self._failed.append((message, error))
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._report)

    async def flush(self) -> None:
        """Wait until everything taken is reported."""
        while self.left:
            if self._idle is None:
                self._idle = self._loop.create_future()
            await asyncio.shield(self._idle)

    def _report(self) -> None:
        self._scheduled = False
        confirmed, self._confirmed = self._confirmed, []
        failed, self._failed = self._failed, []
        self.left -= len(confirmed) + len(failed)
        if confirmed:
            self._settled(confirmed, None)
        for message, error in failed:
            self._settled([message], error)
        if not self.left and self._idle is not None:
            self._idle.set_result(None)
            self._idle = None
