"""One partition as its holder has it: the lease, what was handed over, and up to where that is finished."""

from __future__ import annotations

from penstock.connectors.batch import Batch, Partition
from penstock.connectors.handed import Handed
from penstock.connectors.redis.entry import Entry, StreamBatch, place_of


class Holding(Handed[StreamBatch]):
    """A partition held under a lease.

    - `make`: the kind of batch that entries are handed over as.
    - `read`: the id of the last entry read; the next read continues there.
    - `position`: the last entry of the contiguous finished prefix, and `count` how many entries lie up to it (-1 where
      that is not known); `confirmed` what the server has of it.
    """

    __slots__ = ("confirmed", "count", "key", "lag", "lease", "make", "position", "read")

    def __init__(
        self,
        partition: Partition,
        key: str,
        lease: bytes,
        position: bytes,
        count: int,
        make: type[StreamBatch] = StreamBatch,
    ) -> None:
        super().__init__(partition)
        self.make = make
        self.key = key
        self.lease = lease
        self.read = self.position = self.confirmed = position
        self.count = count
        self.lag = 0

    def add(self, entries: list[Entry], received: float) -> Batch:
        """The entries as a batch, which is waited for from now on."""
        batch = self.make(self.partition, entries, received, lambda: self.confirmed)
        self.batches.append(batch)
        self.read = entries[-1][0]
        return batch

    def due(self) -> bytes | None:
        """The position to confirm, None where that would not be news."""
        while self.batches:
            batch = self.batches[0]
            finished = batch.finished()
            if finished:
                self.position = batch.entries[finished - 1][0]
            if finished < len(batch):
                break
            self.batches.popleft()
            if self.count >= 0:
                self.count += finished
        return self.position if self.position != self.confirmed else None

    def passed(self) -> int:
        """How many entries lie up to the position, -1 where that is not known."""
        return self.count + (self.batches[0].finished() if self.batches else 0) if self.count >= 0 else -1

    def unfinished(self) -> int:
        """How many entries were read, from the first one that is not finished."""
        self.due()
        return sum(map(len, self.batches))

    def forget(self) -> None:
        """Have it come again: nothing of it is confirmed, and what is still decided for its records is dropped."""
        self.abandon()
        self.batches.clear()
        self.position = self.confirmed

    def begin(self, watermark: str) -> Holding:
        """The same partition under the same lease, from what is confirmed or from the watermark, if that is older."""
        marked = watermark.partition(" ")[2].encode()
        position = min(self.confirmed, marked or self.confirmed, key=place_of)
        fresh = position == self.confirmed and self.read == self.confirmed
        return self if fresh else Holding(self.partition, self.key, self.lease, position, -1)

    @property
    def origin(self) -> str:
        """As its batches have it."""
        return f"{self.partition.topic}/{self.partition.number}"


def watermark_of(position: bytes) -> str:
    """The watermark for a position: the place after it, and the position itself to begin from."""
    return f"{place_of(position, after=1)} {position.decode()}"
