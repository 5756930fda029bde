"""What went into the demonstration and what came out of it, payment by payment."""

from __future__ import annotations

import time
from collections import deque
from typing import NamedTuple

from examples.card_fraud.events import Decision, Payment


class Seen(NamedTuple):
    """A decision as it arrived, with its payment where the demonstration sent that, and the seconds it took."""

    decision: Decision
    payment: Payment | None
    took: float | None


class Ledger:
    """Every payment that was sent, until its outcome is known.

    An outcome is a decision, a dead letter, a refusal to its sender, or nothing at all for a payment of nothing,
    which asks only whether the card exists.

    >>> ledger = Ledger()
    >>> ledger.sent(Payment("p1", "c1", "t1", 5.0))
    >>> ledger.missing(set())
    {'p1'}
    >>> ledger.decided(Decision("p1", "c1", "approve", 0.1, "m@1")).payment.amount
    5.0
    >>> ledger.missing(set())
    set()
    """

    def __init__(self) -> None:
        self.latest: deque[Seen] = deque(maxlen=8)
        self.verdicts = {"approve": 0, "review": 0, "decline": 0}
        self.count = self.silent = self.foreign = 0
        self.refused: set[str] = set()
        self._open: dict[str, tuple[float, Payment]] = {}
        self._took: deque[tuple[float, float]] = deque(maxlen=200_000)

    def sent(self, payment: Payment) -> None:
        """A payment leaves for the pipeline, now."""
        self.count += 1
        if payment.amount == 0:
            self.silent += 1
        else:
            self._open[payment.id] = (time.perf_counter(), payment)

    def decided(self, decision: Decision) -> Seen:
        """A decision was read, now. One of a payment from elsewhere counts by itself."""
        began = self._open.pop(decision.payment, None)
        if began is None:
            self.foreign += 1
            seen = Seen(decision, None, None)
        else:
            now = time.perf_counter()
            self.verdicts[decision.verdict] += 1
            self._took.append((now, now - began[0]))
            seen = Seen(decision, began[1], now - began[0])
        self.latest.append(seen)
        return seen

    def refuse(self, payment: str) -> None:
        """A payment was refused to its sender."""
        self.refused.add(payment)
        self._open.pop(payment, None)

    def missing(self, dead: set[str]) -> set[str]:
        """The payments without an outcome, dead letters taken into account."""
        return self._open.keys() - dead

    @property
    def waiting(self) -> int:
        """How many payments wait for an outcome that is told: all but the dead ones."""
        return len(self._open)

    def took(self, share: float, *, last: float | None = None) -> float | None:
        """The quantile of the seconds from sending a payment to reading its decision, of the `last` seconds or all."""
        since = time.perf_counter() - last if last is not None else 0.0
        times = sorted(took for at, took in self._took if at >= since)
        return times[min(len(times) - 1, int(share * len(times)))] if times else None
