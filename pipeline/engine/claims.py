"""The claims of `seen` and `dedupe` that this process holds: renewed while their events run, marked done after them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from penstock.connectors import Batch, Refusal, Store
from penstock.errors import Unavailable
from penstock.pipeline.clock import Clock
from penstock.stages.seen import CLAIM, CLAIMED, DONE

RENEW, AGAIN = CLAIM / 3, 1.0
"""Seconds between two renewals, and before what the store did not take is written again."""


class Host(Protocol):
    """What claims need of the engine."""

    store: Store
    clock: Clock

    def spawn(self, work: Coroutine[Any, Any, None]) -> None: ...


class Held:
    """What one batch's records have claimed: by record, the keys with their owners and horizons.

    It stands in the batch's `changed`, and hands on to whoever stood there before.
    """

    def __init__(self, claims: Claims, batch: Batch) -> None:
        self.claims = claims
        self.before = batch.changed
        self.records: dict[int, list[tuple[str, bytes, float]]] = {}
        self._scheduled = False
        batch.changed = self

    def __call__(self, batch: Batch) -> None:
        if batch.waited:
            # The sender's answer tells whether it will come again, and is gone when it has been sent.
            self._look(batch)
        elif not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._look, batch)
        if self.before is not None:
            self.before(batch)

    def _look(self, batch: Batch) -> None:
        self._scheduled = False
        for index in [one for one in self.records if not batch.owed[one]]:
            answer = batch.answers.get(index)
            again = isinstance(answer, Refusal) and not answer.letter
            for key, owner, within in self.records.pop(index):
                self.claims.over(key, None if again else (key, DONE + owner, within))
        if not self.records:
            self.claims.forget(batch, self)


class Claims:
    """All claims of one engine.

    A claim is done when its record is finished; where the sender was told to come again, it is given back.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self.batches: dict[int, Held] = {}
        self.live: dict[str, bytes] = {}
        self._done: list[tuple[str, bytes, float]] = []
        self._back: list[str] = []
        self._writing = self._renewing = False

    def hold(self, batch: Batch, index: int, key: str, owner: bytes, within: float) -> None:
        """This record has claimed a key."""
        held = self.batches.get(id(batch))
        if held is None:
            held = self.batches[id(batch)] = Held(self, batch)
        held.records.setdefault(index, []).append((key, owner, within))
        self.live[key] = CLAIMED + owner
        if not self._renewing:
            self._renewing = True
            self.host.clock.call_later(RENEW, self._renew)

    def over(self, key: str, done: tuple[str, bytes, float] | None) -> None:
        """The record of a claim is finished: mark it done, or give the claim back."""
        self.live.pop(key, None)
        if done is not None:
            self._done.append(done)
        else:
            self._back.append(key)
        if not self._writing:
            self._writing = True
            self.host.spawn(self._write())

    def forget(self, batch: Batch, held: Held) -> None:
        """Nothing of this batch is claimed any more."""
        if self.batches.get(id(batch)) is held:
            del self.batches[id(batch)]
            if batch.changed is held:
                batch.changed = held.before

    async def _write(self) -> None:
        try:
            while self._done or self._back:
                done, self._done = self._done, []
                back, self._back = self._back, []
                try:
                    await self.host.store.write_many(done)
                    await self.host.store.delete(back)
                except Unavailable:
                    self._done, self._back = done + self._done, back + self._back
                    await self._pause(AGAIN)
        finally:
            self._writing = False

    async def _pause(self, delay: float) -> None:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.host.clock.call_later(delay, lambda: None if over.done() else over.set_result(None))
        await over

    def _renew(self) -> None:
        """Whatever has run since the last time still runs: say so to those who wait for it."""
        self._renewing = bool(self.live)
        if self.live:
            self.host.spawn(self._say([(key, claim, CLAIM) for key, claim in self.live.items()]))
            self.host.clock.call_later(RENEW, self._renew)

    async def _say(self, claims: list[tuple[str, bytes, float]]) -> None:
        try:
            await self.host.store.write_many([one for one in claims if one[0] in self.live])
        except Unavailable:
            return
