"""Kafka as a source: a thread that polls, and on the loop the accounts of what it brought."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from penstock.connectors.batch import Batch, Partition
from penstock.connectors.bell import Bell
from penstock.connectors.kafka.batch import Commits, KafkaBatch, Progress
from penstock.connectors.kafka.client import Broken, Consumer, Listener
from penstock.connectors.kafka.committer import Committer, due
from penstock.connectors.kafka.departure import Departure
from penstock.connectors.kafka.poller import Poller
from penstock.connectors.kafka.watermark import Begun, Marked, origin
from penstock.connectors.watermark import Watermarks
from penstock.errors import ConfigError, Unavailable

log = logging.getLogger("penstock.kafka")

LEAVING = 5.0
"""Seconds that leaving waits for a last commit."""

REPROCESS = (
    "its events were counted, so say what the state is to be: start once with --reprocess=keep-state (they act again, "
    "on the state as it is, and change nothing) or --reprocess=new-state (all state begins anew, and they count)"
)


class KafkaSource:
    """One member of a consumer group.

    The poller's thread puts batches into `arrived`; everything else of the accounts belongs to the loop. What is
    finished is committed by the `committer` every `interval` seconds, when asked, and when partitions leave; `drain`
    is how many seconds what runs of them has then.
    """

    def __init__(self, name: str, make: Callable[[Listener], Consumer], *, interval: float, drain: float) -> None:
        self.name = name
        self.make = make
        self.topic = name.partition(":")[2]
        self.drain = drain
        self.problem: str | None = None
        self.watermarks: Watermarks | None = None
        self.arrived: deque[tuple[Progress, KafkaBatch]] = deque()
        self._owned: dict[int, Progress] = {}
        self.committer = Committer(name, self._owned, interval)
        self._poller: Poller | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._bell = Bell()
        self._wrong: ConfigError | None = None
        self._signalled = False
        self._stopped = False
        self._leaving = False

    # -- the engine's side ---------------------------------------------------------------------------------------

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self.watermarks is not None and self.committer.marked is None:
            self.committer.marked = Marked(self.watermarks, self.topic, self._refuse)
            self.watermarks.watch(self.rewind)
        self._poller = Poller(self.make(self), self._owned, self, self._loop)
        try:
            await self._poller.open()
        except BaseException:
            self._poller = None
            raise
        self.problem = None
        self.committer.start(self._poller.commit)

    async def receive(self) -> Sequence[Batch]:
        while not self._stopped:
            if self._wrong is not None:
                raise self._wrong
            if self.arrived:
                batches = self._take()
                if batches:
                    return batches
                continue
            await self._bell.wait()
        return []

    def _take(self) -> list[Batch]:
        """Everything that has arrived, save what is of partitions that have left meanwhile."""
        arrived = self.arrived
        batches: list[Batch] = []
        count = 0
        while arrived:
            progress, batch = arrived.popleft()
            count += len(batch)
            if not progress.fenced:
                progress.add(batch)
                if len(batch):
                    batches.append(batch)
        if self._poller is not None:
            self._poller.taken(count)
        return batches

    def stop(self) -> None:
        self._stopped = True
        if self._poller is not None:
            self._poller.hold()
        self._bell.ring()

    async def confirm(self) -> None:
        try:
            async with asyncio.timeout(self.drain + LEAVING):
                await self.committer.finish()
        except TimeoutError:
            raise Unavailable("kafka", f"{self.name}: the commit was not answered") from None

    async def close(self) -> None:
        self.stop()
        poller = self._poller
        if poller is None or self._leaving:
            return
        self._leaving = True
        self.committer.pause()
        for progress in tuple(self._owned.values()):
            progress.fence()
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVING):
                await self.committer.finish()
        await poller.close()
        self.committer.stop()
        self._poller = None
        self.arrived.clear()

    def lag(self) -> int | None:
        return self._poller.lag if self._poller is not None else None

    def span(self) -> int:
        """Offsets between commit and newest record, of the partition where they are most."""
        return max((progress.span for progress in tuple(self._owned.values())), default=0)

    def standing(self) -> dict[str, tuple[int, str | None]]:
        """By origin, what the group has committed, without becoming a member. Blocks, in place of `open`.

        Raises `Unavailable` or `ConfigError`.
        """
        topic_id, commits = self.make(self).standing()
        return {origin(self.topic, topic_id, number): commit for number, commit in commits.items()}

    def rewind(self, why: str = "the store may have lost something") -> None:
        """Begin again at the commits, or at the watermarks where they are older. Nothing of before is committed."""
        for progress in tuple(self._owned.values()):
            progress.forget()
        if self._poller is not None:
            self._poller.restart(why)

    def group(self) -> Any:
        """This member of its group, as its client names it to a producer. Raises `Broken` while there is none."""
        if self._poller is None:
            raise Broken("the source is closed")
        return self._poller.consumer.group()

    # -- the listener: called from the client's threads ----------------------------------------------------------

    def begin(self, topic_id: str, commits: Begun) -> Future[Begun]:
        answer: Future[Begun] = Future()
        marked = self.committer.marked
        if marked is None:
            answer.set_result(commits)
        elif not self._call(marked.begin, commits, topic_id, answer, lambda: self._leaving):
            answer.set_exception(Unavailable("kafka", "stopped"))
        return answer

    def assigned(self, topic_id: str, partitions: Sequence[int]) -> None:
        self.committer.topic_id = topic_id
        for number in partitions:
            self._owned[number] = Progress(Partition(self.topic, number, topic_id), self)
        log.info("%s: partitions %s are ours", self.name, sorted(partitions))

    def revoked(self, partitions: Sequence[int]) -> Future[Commits]:
        answer: Future[Commits] = Future()
        leaving = [progress for number in partitions if (progress := self._owned.pop(number, None))]
        log.info("%s: partitions %s leave", self.name, sorted(partitions))
        if not self._call(self._revoke, leaving, answer):
            answer.set_result(due(leaving) if self.committer.marked is None else {})
        return answer

    def lost(self, partitions: Sequence[int]) -> None:
        leaving = [progress for number in partitions if (progress := self._owned.pop(number, None))]
        log.warning("%s: partitions %s were given to others", self.name, sorted(partitions))
        self._call(_lose, leaving)

    def committed(self, commits: Commits, error: Exception | None) -> None:
        self._call(self.committer.end, commits, error)

    def trouble(self, problem: str | None) -> None:
        if problem != self.problem:
            if problem is not None:
                log.warning("%s: %s", self.name, problem)
            else:
                log.info("%s: well again", self.name)
        self.problem = problem

    def arrive(self) -> None:
        """Batches were put into `arrived`."""
        if not self._signalled:
            self._signalled = True
            self._call(self._arrived)

    def _call(self, function: Callable[..., None], *arguments: object) -> bool:
        """Have the loop call this; False where it has gone."""
        try:
            assert self._loop is not None
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            return False
        return True

    # -- the same on the loop ------------------------------------------------------------------------------------

    def _arrived(self) -> None:
        self._signalled = False
        self._bell.ring()

    def _refuse(self, why: str) -> None:
        """Whatever comes now is handed to nobody."""
        self._wrong = ConfigError(f"{why}\n{REPROCESS}")
        self._bell.ring()

    def _revoke(self, leaving: list[Progress], answer: Future[Commits]) -> None:
        Departure(leaving, self.committer, answer).begin(0.0 if self._leaving else self.drain)


def _lose(leaving: Iterable[Progress]) -> None:
    for progress in leaving:
        progress.abandon()
