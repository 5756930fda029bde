"""What a Kafka source commits: all that is finished of its partitions, one commit after another."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from penstock.connectors.kafka.batch import Commits, Progress
from penstock.connectors.kafka.watermark import Marked
from penstock.errors import Unavailable

log = logging.getLogger("penstock.kafka")

AGAIN = 0.1
"""Seconds before a commit that failed is repeated by whoever waits for it."""


class Committer:
    """Commits the contiguous finished prefix of each partition, with a note of what is finished above it.

    That is every `interval` seconds, and when asked. Commits follow one another, so that none overtakes a later one.

    - `owned`: the partitions' accounts.
    - `marked`: the watermarks, if any, that are written before each commit.
    - `topic_id`: the topic's lasting identity, by which they are kept.
    """

    def __init__(self, name: str, owned: Mapping[int, Progress], interval: float) -> None:
        self.name = name
        self.owned = owned
        self.interval = interval
        self.marked: Marked | None = None
        self.topic_id = ""
        self._send: Callable[[Commits], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._committing: asyncio.Future[Exception | None] | None = None
        self._held = False
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, send: Callable[[Commits], None]) -> None:
        """Commit from now on: `send` begins a commit, whose end is told to `end`."""
        self._send = send
        self._timer = asyncio.get_running_loop().call_later(self.interval, self._tick)

    def pause(self) -> None:
        """Commit no more by the clock."""
        if self._timer is not None:
            self._timer.cancel()

    def stop(self) -> None:
        """Commit nothing any more."""
        self.pause()
        self._send = None

    async def finish(self) -> None:
        """Commit now what is finished, as often as it takes."""
        while self._send is not None:
            if self._committing is not None:
                await asyncio.wait([self._committing])
                continue
            commits = due(self.owned.values())
            if not commits:
                if self.marked is not None:
                    with suppress(Unavailable):
                        await self.marked.tidy()
                return
            if await self._commit(commits) is not None:
                await asyncio.sleep(AGAIN)

    def _tick(self) -> None:
        if self._committing is None and (commits := due(self.owned.values())):
            self._commit(commits)
        self._timer = asyncio.get_running_loop().call_later(self.interval, self._tick)

    def _commit(self, commits: Commits) -> asyncio.Future[Exception | None]:
        loop = asyncio.get_running_loop()
        self._committing = future = loop.create_future()
        if self.marked is None:
            self._pass_on(commits)
        else:
            task = loop.create_task(self._mark(self.marked, commits, self.marked.watermarks.server))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return future

    def _pass_on(self, commits: Commits) -> None:
        if self._send is not None:
            self._send(commits)
        else:
            self._end({}, None)

    async def _mark(self, marked: Marked, commits: Commits, server: str) -> None:
        """Have the store know first what is committed then."""
        try:
            kept = await marked.keep(commits, self.topic_id, server)
        except Unavailable as error:
            self._end({}, error)
            return
        if kept:
            self._pass_on(commits)
        else:
            self._end({}, None)

    def end(self, commits: Commits, error: Exception | None) -> None:
        """A commit of ours has ended, or the consumer that was to make it."""
        if not self._held:
            self._end(commits, error)

    def _end(self, commits: Commits, error: Exception | None) -> None:
        if error is None:
            for number, commit in commits.items():
                progress = self.owned.get(number)
                if progress is not None:
                    progress.committed = commit
            if self.marked is not None:
                self.marked.committed(commits)
        else:
            log.warning("%s: commit failed and will be repeated: %s", self.name, error)
        future, self._committing = self._committing, None
        if future is not None and not future.done():
            future.set_result(error)

    async def last(self, leaving: Sequence[Progress]) -> Commits:
        """What partitions that leave commit last: nothing where the store cannot be told, and then it comes again."""
        commits = due(leaving)
        if self.marked is None or not commits:
            return commits
        try:
            kept = await self.marked.keep(commits, self.topic_id, self.marked.watermarks.server)
        except Unavailable as error:
            log.warning("%s: %s leave without their last commit: %s", self.name, sorted(commits), error)
            kept = False
        return commits if kept else {}

    # -- transactions: their commits take the place of one's own -------------------------------------------------

    async def hold(self) -> None:
        """Commit nothing until `release`."""
        while self._committing is not None:
            await asyncio.wait([self._committing])
        self._committing = asyncio.get_running_loop().create_future()
        self._held = True

    def release(self, commits: Commits, error: Exception | None) -> None:
        """A transaction has ended, and committed these."""
        self._held = False
        self._end(commits, error)

    async def keep(self, commits: Commits) -> None:
        """Have the store know first what a transaction is about to commit. Raises `Unavailable`."""
        marked = self.marked
        if marked is not None and not await marked.keep(commits, self.topic_id, marked.watermarks.server):
            raise Unavailable("store", "it is another than before")


def due(progresses: Iterable[Progress]) -> Commits:
    """What is to be committed of these partitions, as far as it is news."""
    return {each.partition.number: found for each in tuple(progresses) if (found := each.due()) is not None}
