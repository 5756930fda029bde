"""What an exception says: whose fault it is, how it is told, and what a waiting sender is answered."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from penstock.connectors import Refusal
from penstock.errors import BadEvent, PenstockError, Undeliverable
from penstock.stages.outcome import Retries


def kinds(retries: Retries) -> tuple[type[Exception], ...]:
    """The exceptions that are worth another try."""
    return retries.on if isinstance(retries.on, tuple) else (retries.on,)


def fatal(error: BaseException) -> bool:
    """Whether this is not the event's failure but the end of the task or the process."""
    if isinstance(error, GeneratorExit | KeyboardInterrupt):
        return True
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return False


def reason_of(error: BaseException) -> str:
    """One line for people: our own errors speak for themselves, others begin with what they are.

    >>> reason_of(BadEvent("no key")), reason_of(KeyError("card")), reason_of(ValueError())
    ('no key', "KeyError: 'card'", 'ValueError')
    """
    text, kind = str(error), type(error).__name__
    if not text:
        return kind
    return text if isinstance(error, PenstockError) else f"{kind}: {text}"


def moment(time: float) -> str:
    """A moment of the clock on the wall, in UTC.

    >>> moment(1_750_000_000.25)
    '2025-06-15T15:06:40.250Z'
    """
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def refusal(error: BaseException) -> Refusal:
    """The answer to a sender that waits: what it did wrong, or that it may try again."""
    if isinstance(error, BadEvent):
        return Refusal(error.status, error.reason, path=error.path)
    if isinstance(error, Undeliverable):
        return Refusal(422, reason_of(error))
    return Refusal(503, reason_of(error), retry_after=1.0)
