"""Calls to a third party that fail in a row: each one's own failure, until it is everybody's."""

from __future__ import annotations

import logging
from typing import Any, Protocol

from penstock.errors import Unavailable

log = logging.getLogger("penstock")

QUESTIONS = 3
"""Distinct questions that meet nobody in a row; when another attempt does, the third party is out."""

HOLD = 60.0
"""Seconds that this is an outage; from then on it is the events' own failure, until something is answered."""

_CLIENTS = {("aiohttp", "ClientConnectionError"), ("httpx", "TransportError"), ("requests", "ConnectionError")}


class Time(Protocol):
    """The clock by which an outage is too long."""

    def monotonic(self) -> float: ...


class Streak:
    """How calls of one function went lately.

    `failed` is empty while it is well: only then nothing needs to be told of a success.
    """

    def __init__(self, name: str, clock: Time) -> None:
        self.name = name
        self.clock = clock
        self.failed: set[Any] = set()
        self._since: float | None = None
        self._told = False

    def succeeded(self) -> None:
        """Somebody was answered."""
        self.failed.clear()
        self._since, self._told = None, False

    def judge(self, question: Any, error: Exception) -> Exception:
        """What a failed call means: the error itself, or an outage."""
        if not unreachable(error):
            return error
        now = self.clock.monotonic()
        if self._since is None:
            if len(self.failed) < QUESTIONS:
                self.failed.add(question)
                return error
            self._since = now
        if now - self._since < HOLD:
            return Unavailable(self.name, f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
        if not self._told:
            self._told = True
            log.warning("%s has met nobody for %.0f s: its events fail until somebody answers", self.name, HOLD)
        return error


def unreachable(error: BaseException) -> bool:
    """Whether nobody was there to answer: a time-out, or a connection that was refused or lost.

    >>> unreachable(ConnectionRefusedError()), unreachable(TimeoutError()), unreachable(FileNotFoundError())
    (True, True, False)
    """
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    return any((kind.__module__.partition(".")[0], kind.__name__) in _CLIENTS for kind in type(error).__mro__)
