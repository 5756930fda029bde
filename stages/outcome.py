"""What a stage function can say beside returning: this event is refused, or try it again later."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from penstock.connectors.duration import D, seconds
from penstock.errors import DeclarationError, PenstockError


class Reject(PenstockError):
    """Raised by a stage function: this event can never be processed. It becomes a dead letter at once.

    >>> raise Reject("the card does not exist")
    Traceback (most recent call last):
    penstock.stages.outcome.Reject: the card does not exist
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Retry(PenstockError):
    """Raised by a stage function: try this stage again, not before `after` has passed. It counts as an attempt."""

    def __init__(self, after: D) -> None:
        super().__init__(f"again after {after}")
        self.after = seconds(after)


class Wait(Retry):
    """Raised by the engine's own helpers: what this stage asked for is on its way. It does not count as a failure."""


class Retries(msgspec.Struct, frozen=True):
    """How often a failing stage is tried, and how long it waits in between.

    `attempts` counts every try, the first included. The wait doubles from `first` up to `longest`, and a random
    half of it is taken off, so that many failures do not come back together. `on` says which exceptions are worth
    another try; every other one is final at once. Raises `DeclarationError` for counts and times that make no sense.

    >>> Retries(attempts=5, first="100ms", longest="1s").delay(2, chance=0.0)
    0.2
    """

    attempts: int = 3
    first: D = "100ms"
    longest: D = "10s"
    on: type[Exception] | tuple[type[Exception], ...] = Exception

    def __post_init__(self) -> None:
        if not counts(self.attempts):
            raise DeclarationError(f"Retries(attempts={self.attempts!r}): it counts every try, so it is at least 1")
        if self._seconds("first") > self._seconds("longest"):
            raise DeclarationError(
                f"Retries(first={self.first!r}, longest={self.longest!r}): waits grow from first to longest, "
                "so first is the shorter one"
            )
        kinds: tuple[Any, ...] = self.on if isinstance(self.on, tuple) else (self.on,)
        for kind in kinds:
            if not isinstance(kind, type) or not issubclass(kind, Exception):
                raise DeclarationError(f"Retries(on={kind!r}): name exception classes, for example on=TimeoutError")

    def _seconds(self, name: str) -> float:
        try:
            found = seconds(getattr(self, name))
        except ValueError as error:
            raise DeclarationError(f"Retries({name}=): {error}") from None
        if found < 0:
            raise DeclarationError(f"Retries({name}={getattr(self, name)!r}): a wait is not negative")
        return found

    def delay(self, attempt: int, chance: float) -> float:
        """Seconds to wait after failed try number `attempt` (from 1); `chance` is a random number in [0, 1)."""
        doubled = 2.0 ** min(attempt - 1, 64)  # more would be past any `longest`, and in the end past any float
        return min(_parsed(self.longest), _parsed(self.first) * doubled) * (1.0 - chance / 2.0)


_parsed = lru_cache(maxsize=64)(seconds)  # asked for every failure


def counts(number: Any) -> bool:
    """Whether it is a whole number from 1 on.

    >>> counts(64), counts(0), counts("64")
    (True, False, False)
    """
    return isinstance(number, int) and not isinstance(number, bool) and number >= 1
