"""Partitions that leave a Kafka source: nothing more of them is started, and what runs is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future

from penstock.connectors.batch import Batch
from penstock.connectors.kafka.batch import Commits, Progress
from penstock.connectors.kafka.committer import Committer


class Departure:
    """Answers with the last commit of partitions, when what runs of them has finished or has been given long enough.

    What is decided for their records after that comes too late.
    """

    def __init__(self, leaving: Sequence[Progress], committer: Committer, answer: Future[Commits]) -> None:
        self.leaving = leaving
        self.committer = committer
        self.answer = answer
        self._limit: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self, patience: float) -> None:
        """Start nothing more of them, and give what runs so many seconds."""
        for progress in self.leaving:
            progress.fence()
        if patience <= 0 or not self._running():
            self._finish()
            return
        self._limit = asyncio.get_running_loop().call_later(patience, self._finish)
        for progress in self.leaving:
            for batch in progress.batches:
                batch.changed = self._look

    def _running(self) -> bool:
        return any(progress.running() for progress in self.leaving)

    def _look(self, _: Batch) -> None:
        if self._task is None and not self._running():
            self._finish()

    def _finish(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
        for progress in self.leaving:
            progress.abandon()
        self._task = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        commits: Commits = {}
        try:
            commits = await self.committer.last(self.leaving)
        finally:
            # The client's thread waits for it, whatever happens here.
            self.answer.set_result(commits)
