"""Kafka as a source: a thread that polls, and on the loop the accounts of what is finished."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from penstock.connectors.batch import Batch, Partition
from penstock.connectors.kafka.batch import Commits, KafkaBatch, Progress
from penstock.connectors.kafka.client import Broken, Consumer, Listener
from penstock.connectors.kafka.poller import Poller
from penstock.connectors.kafka.watermark import Begun, Marked
from penstock.connectors.watermark import Watermarks
from penstock.errors import Unavailable

log = logging.getLogger("penstock.kafka")

LEAVING = 5.0
"""Seconds that leaving waits for a last commit."""


class KafkaSource:
    """One member of a consumer group.

    The poller's thread puts batches into `arrived`; everything else of the accounts belongs to the loop. The
    contiguous finished prefix of each partition is committed every `interval` seconds, when partitions leave, and
    when asked, with a note of what is finished above it, which the next owner leaves out. Commits follow one another,
    so that none overtakes a later one.
    """

    def __init__(self, name: str, make: Callable[[Listener], Consumer], *, interval: float, drain: float) -> None:
        self.name = name
        self.make = make
        self.topic = name.partition(":")[2]
        self._identity = ""
        self.interval = interval
        self.drain = drain
        self.problem: str | None = None
        self.watermarks: Watermarks | None = None
        self.arrived: deque[tuple[Progress, KafkaBatch]] = deque()
        self._owned: dict[int, Progress] = {}
        self._poller: Poller | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._committing: asyncio.Future[Exception | None] | None = None
        self._marked: Marked | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._signalled = False
        self._stopped = False
        self._leaving = False

    # -- the engine's side ---------------------------------------------------------------------------------------

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self.watermarks is not None and self._marked is None:
            self._marked = Marked(self.watermarks, self.topic)
            self.watermarks.watch(self.rewind)
        self._poller = Poller(self.make(self), self._owned, self, self._loop)
        try:
            await self._poller.open()
        except BaseException:
            self._poller = None
            raise
        self.problem = None
        self._timer = self._loop.call_later(self.interval, self._tick)

    async def receive(self) -> Sequence[Batch]:
        while not self._stopped:
            if self.arrived:
                batches = self._take()
                if batches:
                    return batches
                continue
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
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
        self._wake()

    async def confirm(self) -> None:
        try:
            async with asyncio.timeout(self.drain + LEAVING):
                await self._confirm()
        except TimeoutError:
            raise Unavailable("kafka", f"{self.name}: the commit was not answered") from None

    async def _confirm(self) -> None:
        while self._poller is not None:
            if self._committing is not None:
                await asyncio.wait([self._committing])
                continue
            commits = self._due()
            if not commits:
                return
            error = await self._commit(commits)
            if error is not None:
                await asyncio.sleep(0.1)

    async def close(self) -> None:
        self.stop()
        poller = self._poller
        if poller is None or self._leaving:
            return
        self._leaving = True
        if self._timer is not None:
            self._timer.cancel()
        _fence(tuple(self._owned.values()))
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVING):
                await self._confirm()
        await poller.close()
        self._poller = None
        self.arrived.clear()

    def lag(self) -> int | None:
        return self._poller.lag if self._poller is not None else None

    def span(self) -> int:
        """Offsets between commit and newest record, of the partition where they are most."""
        return max((progress.span for progress in tuple(self._owned.values())), default=0)

    # -- commits -------------------------------------------------------------------------------------------------

    def _due(self) -> Commits:
        return _due(self._owned.values())

    def _tick(self) -> None:
        """Commit what has finished since the last time."""
        if self._loop is None or self._leaving:
            return
        if self._committing is None:
            commits = self._due()
            if commits:
                self._commit(commits)
        self._timer = self._loop.call_later(self.interval, self._tick)

    def _commit(self, commits: Commits) -> asyncio.Future[Exception | None]:
        assert self._loop is not None
        assert self._poller is not None
        self._committing = future = self._loop.create_future()
        if self._marked is None:
            self._poller.commit(commits)
        else:
            self._start(self._keep(self._marked, commits, self._marked.watermarks.server))
        return future

    async def _keep(self, marked: Marked, commits: Commits, server: str) -> None:
        """Have the store know first what is committed then."""
        try:
            kept = await marked.keep(commits, self._identity, server)
        except Unavailable as error:
            self._end_commit({}, error)
            return
        if kept and self._poller is not None:
            self._poller.commit(commits)
        else:
            self._end_commit({}, None)

    def rewind(self, why: str = "the store may have lost something") -> None:
        """Begin again at the commits, or at the watermarks where they are older. Nothing of before is committed."""
        for progress in tuple(self._owned.values()):
            progress.forget()
            progress.void = True
        if self._poller is not None:
            self._poller.restart(why)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._loop is not None
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _end_commit(self, commits: Commits, error: Exception | None) -> None:
        if error is None:
            for number, commit in commits.items():
                progress = self._owned.get(number)
                if progress is not None:
                    progress.committed = commit
        else:
            log.warning("%s: commit failed and will be repeated: %s", self.name, error)
        future, self._committing = self._committing, None
        if future is not None and not future.done():
            future.set_result(error)

    # -- transactions: their commits take the place of one's own -------------------------------------------------

    def group(self) -> Any:
        """This member of its group, as its client names it to a producer. Raises `Broken` while there is none."""
        if self._poller is None:
            raise Broken("the source is closed")
        return self._poller.consumer.group()

    async def hold(self) -> None:
        """Commit nothing until `release`."""
        while self._committing is not None:
            await asyncio.wait([self._committing])
        self._committing = asyncio.get_running_loop().create_future()

    def release(self, commits: Commits, error: Exception | None) -> None:
        """A transaction has ended, and committed these."""
        self._end_commit(commits, error)

    async def keep(self, commits: Commits) -> None:
        """Have the store know first what a transaction is about to commit. Raises `Unavailable`."""
        marked = self._marked
        if marked is not None and not await marked.keep(commits, self._identity, marked.watermarks.server):
            raise Unavailable("store", "it is another than before")

    # -- the listener: called from the client's threads ----------------------------------------------------------

    def begin(self, topic_id: str, commits: Begun) -> Future[Begun]:
        answer: Future[Begun] = Future()
        if self._marked is None:
            answer.set_result(commits)
        elif not self._call(self._begin, self._marked, topic_id, commits, answer):
            answer.set_exception(Unavailable("kafka", "stopped"))
        return answer

    def assigned(self, topic_id: str, partitions: Sequence[int]) -> None:
        self._identity = topic_id
        for number in partitions:
            self._owned[number] = Progress(Partition(self.topic, number, topic_id), self)
        log.info("%s: partitions %s are ours", self.name, sorted(partitions))

    def revoked(self, partitions: Sequence[int]) -> Future[Commits]:
        answer: Future[Commits] = Future()
        leaving = [progress for number in partitions if (progress := self._owned.pop(number, None))]
        log.info("%s: partitions %s leave", self.name, sorted(partitions))
        if not self._call(self._revoke, leaving, answer):
            answer.set_result(_due(leaving) if self._marked is None else {})
        return answer

    def lost(self, partitions: Sequence[int]) -> None:
        leaving = [progress for number in partitions if (progress := self._owned.pop(number, None))]
        log.warning("%s: partitions %s were given to others", self.name, sorted(partitions))
        self._call(_lose, leaving)

    def committed(self, commits: Commits, error: Exception | None) -> None:
        self._call(self._end_commit, commits, error)

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
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _begin(self, marked: Marked, topic_id: str, commits: Begun, answer: Future[Begun]) -> None:
        self._start(marked.begin(commits, topic_id, answer, lambda: self._leaving))

    async def _leave(self, marked: Marked, commits: Commits, server: str, answer: Future[Commits]) -> None:
        """The last commit of partitions that leave, unless the store cannot be told of it: then it comes again."""
        try:
            kept = await marked.keep(commits, self._identity, server)
        except Unavailable as error:
            log.warning("%s: %s leave without their last commit: %s", self.name, sorted(commits), error)
            kept = False
        answer.set_result(commits if kept else {})

    def _revoke(self, leaving: list[Progress], answer: Future[Commits]) -> None:
        """Start nothing more of these, and answer when what runs has finished, or has been given long enough."""
        assert self._loop is not None
        _fence(leaving)

        def finish() -> None:
            limit.cancel()
            commits = _due(leaving)
            if answer.done() or done:
                return
            done.append(True)
            for progress in leaving:
                progress.void = True
            if self._marked is None or not commits:
                answer.set_result(commits)
            else:
                self._start(self._leave(self._marked, commits, self._marked.watermarks.server, answer))

        done: list[bool] = []

        def look(_: Batch) -> None:
            if not any(progress.running() for progress in leaving):
                finish()

        limit = self._loop.call_later(self.drain, finish)
        if self._leaving or not any(progress.running() for progress in leaving):
            finish()
            return
        for progress in leaving:
            for batch in progress.batches:
                batch.changed = look


def _fence(leaving: Iterable[Progress]) -> None:
    for progress in leaving:
        progress.fence()


def _lose(leaving: Iterable[Progress]) -> None:
    for progress in leaving:
        progress.void = True
        progress.fence()


def _due(owned: Iterable[Progress]) -> Commits:
    return {progress.partition.number: due for progress in tuple(owned) if (due := progress.due()) is not None}
