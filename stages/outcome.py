"""What a stage function can say beside returning: this event is refused, or try it again later."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.connectors.duration import D, seconds
from penstock.errors import PenstockError


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


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a failing stage is tried, and how long it waits in between.

    `attempts` counts every try, the first included. The wait doubles from `first` up to `longest`, and a random
    half of it is taken off, so that many failures do not come back together. `on` says which exceptions are worth
    another try; every other one is final at once.

    >>> Retries(attempts=5, first="100ms", longest="1s").delay(2, chance=0.0)
    0.2
    """

    attempts: int = 3
    first: D = "100ms"
    longest: D = "10s"
    on: type[Exception] | tuple[type[Exception], ...] = Exception

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts is {self.attempts}: it counts every try, so it is at least 1")
        seconds(self.first), seconds(self.longest)

    def delay(self, attempt: int, chance: float) -> float:
        """Seconds to wait after failed try number `attempt` (from 1); `chance` is a random number in [0, 1)."""
        whole = min(seconds(self.longest), seconds(self.first) * 2.0 ** (attempt - 1))
        return whole * (1.0 - chance / 2.0)
