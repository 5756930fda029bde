"""Whose the records are that were set aside: one worker's for each partition, for a while and again."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from penstock.connectors import Store

LEASE = 30.0
"""Seconds for which a worker has what was set aside of a partition, unless it says so again."""


class Leases:
    """The logs of one source stage, `penstock:{pipeline}:parked:{partition}`, and a lease beside each.

    The hash `penstock:{pipeline}:parked` knows every partition of which anything was ever set aside, and its stage.
    Every call may raise `Unavailable`; all of them may be repeated.
    """

    def __init__(self, store: Store, group: str, stage: str) -> None:
        self.store = store
        self.name = f"penstock:{group}:parked"
        self.stage = stage
        self.ours: set[str] = set()
        self._me = uuid.uuid4().hex.encode()

    def log(self, partition: str) -> str:
        return f"{self.name}:{partition}"

    def lease(self, partition: str) -> str:
        return f"{self.name}:{partition}:lease"

    async def seize(self, partition: str) -> None:
        """It is ours from now on, whoever had it."""
        await self.store.write(self.lease(partition), self._me, ttl=LEASE)
        await self.store.write_hash(self.name, {partition: self.stage})
        self.ours.add(partition)

    async def renew(self) -> tuple[list[str], list[str]]:
        """Say again what is ours, and take what nobody has: the partitions gained, and those that somebody took."""
        gained, lost = [], []
        [known] = await self.store.read_maps([self.name])
        for partition in [name.decode() for name, stage in (known or {}).items() if stage.decode() == self.stage]:
            holder = await self.store.settle(self.lease(partition), self._me, LEASE)
            if holder == self._me:
                await self.store.write(self.lease(partition), self._me, ttl=LEASE)
            elif holder is not None:
                lost.append(partition)
            elif partition not in self.ours:
                gained.append(partition)
        self.ours.update(gained)
        return gained, self._without(lost)

    async def lost(self, partitions: Iterable[str]) -> list[str]:
        """Those of our partitions that are somebody else's by now."""
        asked = sorted(partitions)
        holders = await self.store.read([self.lease(partition) for partition in asked])
        return self._without(
            [one for one, holder in zip(asked, holders, strict=True) if holder not in (None, self._me)]
        )

    def _without(self, lost: list[str]) -> list[str]:
        gone = [partition for partition in lost if partition in self.ours]
        self.ours.difference_update(gone)
        return gone

    async def close(self) -> None:
        """Give back what is ours, so that nobody needs to wait for it."""
        if self.ours:
            await self.store.delete([self.lease(partition) for partition in self.ours])
            self.ours.clear()
