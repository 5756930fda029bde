"""The batches of one partition that its reader has handed over."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from penstock.connectors.batch import Batch, Partition

B = TypeVar("B", bound=Batch)


class Handed(Generic[B]):
    """The batches of one partition that were handed over and are not let go of, the oldest first.

    - `fenced`: nothing more of the partition may be started.

    >>> batch = Batch(Partition("payments"), [b"1", b"2", b"3"])
    >>> handed = Handed[Batch](batch.partition)
    >>> handed.batches.append(batch)
    >>> batch.taken = 2; batch.settle(0); handed.running()
    1
    >>> handed.fence(); batch.fenced
    True
    """

    __slots__ = ("batches", "fenced", "partition")

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.batches: deque[B] = deque()
        self.fenced = False

    def fence(self) -> None:
        """Have the engine start no more of it."""
        self.fenced = True
        for batch in self.batches:
            batch.fenced = True

    def abandon(self) -> None:
        """The same, and have what is still decided for its records dropped: they are another's, or come again."""
        self.fence()
        for batch in self.batches:
            batch.void = True

    def running(self) -> int:
        """How many records were started and are not finished."""
        return sum(batch.owed.count(1, 0, batch.taken) for batch in self.batches)
