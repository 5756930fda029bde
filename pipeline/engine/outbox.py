"""Actions on their way out: gathered for one loop tick, handed to their sink, settled with their events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from penstock.connectors import Message, Sink
from penstock.errors import Unavailable
from penstock.pipeline.clock import Clock

Failed = Callable[[Message, BaseException], None]

FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0
"""Seconds before what met an outage of its sink is sent again, at first and in the end."""


class Outbox:
    """What the stages push for one sink.

    Messages of one loop tick are handed over together. A confirmed one settles its record. One that met an outage is
    sent again, in order, with the others behind it; one that is refused for good goes to `undelivered`.
    """

    def __init__(
        self,
        sink: Sink,
        address: str,
        *,
        clock: Clock,
        outage: Callable[[str, Unavailable], None],
        recovered: Callable[[str], None],
        undelivered: Failed,
        sampled: Callable[[Message], None],
        unheld: Callable[[Message], None],
        relieved: Callable[[], None],
    ) -> None:
        self.sink = sink
        self.address = address
        self.clock = clock
        self.outage = outage
        self.recovered = recovered
        self.undelivered = undelivered
        self.sampled = sampled
        self.unheld = unheld
        self.relieved = relieved
        self.unsettled = 0
        self.sent = 0
        self.confirmed = 0
        self._buffer: list[Message] = []
        self._failed: list[Message] = []
        self._behind: list[Message] = []
        self._down: str | None = None
        self._wait = 0.0
        self._scheduled = False

    def push(self, message: Message) -> None:
        """Take one message; it leaves with everything else of this loop tick."""
        if not self._buffer:
            asyncio.get_running_loop().call_soon(self.flush)
        self._buffer.append(message)

    def flush(self) -> None:
        """Hand over what has gathered."""
        messages, self._buffer = self._buffer, []
        if not messages:
            return
        self.unsettled += len(messages)
        self.hand_over(messages)

    def hand_over(self, messages: list[Message]) -> None:
        """Give these to the sink, behind those that an outage holds."""
        self.sent += len(messages)
        if self._down is not None:
            self._behind += messages
        else:
            self.sink.send(messages)

    def settled(self, messages: Sequence[Message], error: BaseException | None) -> None:
        """The sink's report."""
        if error is None:
            self.unsettled -= len(messages)
            self.confirmed += len(messages)
            for message in messages:
                message.batch.settle(message.index)
            if not self.sink.ordered:
                for message in messages:
                    self.unheld(message)
            if messages:
                self.sampled(messages[0])
            self._answered()
        elif isinstance(error, Unavailable):
            self._hold(messages, error)
        else:
            self.unsettled -= len(messages)
            for message in messages:
                self.undelivered(message, error)
                if not self.sink.ordered:
                    self.unheld(message)
            self._answered()

    def _answered(self) -> None:
        """Something has ended, well or badly: nothing waits for an outage that it came out of."""
        if self._down is not None and not self._failed:
            self._up()
        self.relieved()

    def _hold(self, messages: Sequence[Message], error: Unavailable) -> None:
        """Keep what met an outage, in front of what came after it, and try all of it again later."""
        self._failed += messages
        if self._down is None:
            self._down = error.dependency
            self.outage(error.dependency, error)
        if not self._scheduled:
            self._scheduled = True
            self._wait = min(max(self._wait * 2, FIRST_WAIT), LONGEST_WAIT)
            self.clock.call_later(self._wait, self._resend)

    def _resend(self) -> None:
        messages = self._failed + self._behind
        self._failed, self._behind, self._scheduled = [], [], False
        for message in messages:
            message.attempts += 1
        self.sink.send(messages)

    def _up(self) -> None:
        down, self._down, self._wait = self._down, None, 0.0
        behind, self._behind = self._behind, []
        if behind:
            self.sink.send(behind)
        if down is not None:
            self.recovered(down)

    @property
    def idle(self) -> bool:
        return not self._buffer and self.unsettled == 0
