"""The thread that owns a Kafka consumer: it polls, whatever the engine does, and hands over what comes."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Protocol

from penstock.connectors.kafka.batch import SPAN, Commits, KafkaBatch, Progress
from penstock.connectors.kafka.client import MOST, Broken, Consumer
from penstock.errors import PenstockError, Unavailable

log = logging.getLogger("penstock.kafka")

FULL = 4 * MOST
"""Records handed over and not received, from which on nothing more is polled."""

IDLE = 0.05
"""Seconds that one poll waits; commits are begun between polls."""

PATIENCE = 1.0
"""Seconds without room after which the partitions are paused. Pausing throws away what the client has fetched ahead,
so an engine that is merely busy must not come to it; and no rebalance waits longer than this."""

MEASURE = 1.0
"""Seconds between looks at the lag."""

LEAVING = 15.0
"""Seconds that leaving the group may take."""

RETRY = 1.0
"""Seconds between attempts when the client is broken."""


class Receiver(Protocol):
    """Where batches are put, and who is told."""

    arrived: deque[tuple[Progress, KafkaBatch]]

    def arrive(self) -> None: ...

    def trouble(self, problem: str | None) -> None: ...

    def lost(self, partitions: Sequence[int]) -> None: ...

    def committed(self, commits: Commits, error: Exception | None) -> None: ...


class Poller:
    """Drives one consumer.

    While the engine does not receive, the thread first waits a moment, since pausing discards what the client has
    fetched ahead; then it pauses the partitions and polls on, so that the group knows it is alive.
    """

    def __init__(
        self, consumer: Consumer, owned: Mapping[int, Progress], receiver: Receiver, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.consumer = consumer
        self.owned = owned
        self.receiver = receiver
        self.loop = loop
        self.lag: int | None = None
        self._opened: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()
        self._thread = threading.Thread(target=self._run, name="penstock-kafka", daemon=True)
        self._room = threading.Event()
        self._end = threading.Event()
        self._commits: deque[Commits] = deque()
        self._measured = 0.0
        self._handed = 0
        self._taken = 0
        self._held = False
        self._failing = False
        self._restart = ""
        self._wide: set[int] = set()

    # -- called on the loop --------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Start the thread and wait until its consumer has subscribed. Raises what opening it raised."""
        self._thread.start()
        try:
            await self._opened
        except asyncio.CancelledError:
            self._end.set()
            raise

    def taken(self, count: int) -> None:
        """The engine has received this many records."""
        self._taken += count
        if not self._held and self._handed - self._taken < FULL:
            self._room.set()

    def commit(self, commits: Commits) -> None:
        """Have this committed soon."""
        self._commits.append(commits)

    def restart(self, why: str) -> None:
        """Have the consumer made anew, and so begin again where its partitions should."""
        self._restart = why

    def hold(self) -> None:
        """Hand over nothing more."""
        self._held = True

    async def close(self) -> None:
        """Leave the group and end the thread; one that hangs in an outage is left to itself."""
        self._end.set()
        self._room.set()
        await asyncio.wait([self._ended], timeout=LEAVING)

    @property
    def _closing(self) -> bool:
        return self._end.is_set()

    # -- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            try:
                self.consumer.open()
            except BaseException as error:
                self._tell(self._opened, error)
                return
            self._tell(self._opened, None)
            while not self._closing:
                self._turn()
        finally:
            self._leave()
            self._tell(self._ended, None)

    def _leave(self) -> None:
        try:
            self.consumer.close()
        except Exception as error:  # nothing is lost by it: the group finds out by itself
            log.warning("leaving the consumer group: %s: %s", type(error).__name__, error)

    def _turn(self) -> None:
        try:
            self._attend()
            if self._full():
                self._wait()
            else:
                self._poll(IDLE)
        except Broken as error:
            self.receiver.trouble(str(error))
            self._reopen()
        except Exception as error:  # whatever the client raises is told and tried again: the thread must live
            self._failing = True
            self.receiver.trouble(f"{type(error).__name__}: {error}")
            self._end.wait(RETRY)
        else:
            if self._failing:
                self._failing = False
                self.receiver.trouble(None)

    def _attend(self) -> None:
        """What is done between polls."""
        if self._restart:
            why, self._restart = self._restart, ""
            self._commits.clear()
            raise Broken(why)
        while self._commits:
            # What has left meanwhile was committed further on when it left: this would take it back.
            commits = {each: commit for each, commit in self._commits.popleft().items() if each in self.owned}
            if not commits:
                self.receiver.committed({}, None)
                continue
            try:
                self.consumer.commit(commits)
            except Exception as error:
                self.receiver.committed({}, error)
                raise
        now = time.monotonic()
        if now - self._measured > MEASURE:
            self._measured = now
            self.lag = self.consumer.lag()
            # Each time, since a rebalance may have resumed them.
            self.consumer.pause(self._wide)
        self._narrow()

    def _narrow(self) -> None:
        """Read no further in partitions that are far ahead of their commits; the others go on."""
        wide = {number for number, progress in tuple(self.owned.items()) if progress.span >= SPAN}
        if wide != self._wide:
            self.consumer.pause(wide - self._wide)
            log.warning(
                "too far ahead of what is finished, and not read further: partitions %s", sorted(wide) or "none"
            )
            self.consumer.resume(self._wide - wide)
            self._wide = wide

    def _full(self) -> bool:
        return self._held or self._handed - self._taken >= FULL

    def _poll(self, seconds: float) -> None:
        count, found = 0, False
        for number, batch in self.consumer.poll(seconds):
            progress = self.owned.get(number)
            if progress is not None:
                batch.partition = progress.partition
                self.receiver.arrived.append((progress, batch))
                count += len(batch)
                found = True
        if found:
            self._handed += count
            self.receiver.arrive()

    def _wait(self) -> None:
        """Wait for room; paused, but polling, when that takes longer, or when there will be none any more: the answer
        to the last commit comes with a poll."""
        patience = time.monotonic() + PATIENCE
        while not self._held and time.monotonic() < patience:
            self._room.clear()
            if self._closing or not self._full() or self._room.wait(IDLE):
                return
            self._attend()
        try:
            while self._full() and not self._closing:
                # Each time, since a rebalance may have brought partitions that are not paused.
                self.consumer.pause(tuple(self.owned))
                self._poll(IDLE)
                self._attend()
        finally:
            self.consumer.resume(set(self.owned) - self._wide)

    def _reopen(self) -> None:
        """Make the consumer anew, as often as it takes."""
        self.receiver.lost(list(self.owned))
        self.receiver.committed({}, Unavailable("kafka", "the consumer is made anew"))
        self._leave()
        while not self._closing:
            try:
                self.consumer.open()
                self.receiver.trouble(None)
                return
            except PenstockError as error:
                self.receiver.trouble(str(error))
            except Exception as error:  # whatever the client raises: without this thread nothing is read any more
                self.receiver.trouble(f"{type(error).__name__}: {error}")
            self._end.wait(RETRY)

    def _tell(self, future: asyncio.Future[None], error: BaseException | None) -> None:
        def set_() -> None:
            if future.done():
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        try:
            self.loop.call_soon_threadsafe(set_)
        except RuntimeError:
            return  # the loop has gone, and whoever waited with it
