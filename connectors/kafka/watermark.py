"""Commits of a Kafka source that follow a watermark in the store, and partitions that begin no further than it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future

from penstock.connectors.kafka.batch import Commits
from penstock.connectors.watermark import Watermarks
from penstock.errors import Unavailable

log = logging.getLogger("penstock.kafka")

Begun = Mapping[int, tuple[int, str | None]]
"""By partition, the offset to begin at and the note of what is finished above it."""

PAUSE = 0.2
"""Seconds between two attempts to read the watermarks."""


class Marked:
    """The watermarks of one topic: the offset that is committed then, and behind a space its note."""

    def __init__(self, watermarks: Watermarks, topic: str) -> None:
        self.watermarks = watermarks
        self.topic = topic
        self._tasks: set[asyncio.Task[None]] = set()

    async def keep(self, commits: Commits, topic_id: str, server: str) -> bool:
        """Write these down before they are committed. False where they must not be. Raises `Unavailable`.

        `server` is the watermarks' when the commits were read.
        """
        places = {self._origin(number, topic_id): f"{offset:019d} {note}" for number, (offset, note) in commits.items()}
        return await self.watermarks.keep(places, server)

    def begin(self, commits: Begun, topic_id: str, answer: Future[Begun], over: Callable[[], bool]) -> None:
        """Have it answered where to begin: at the commit or at the watermark, whichever is older.

        However long the store is away: to begin further on would lose what it lost. Not beyond the time when it is
        `over`.
        """
        task = asyncio.get_running_loop().create_task(self._begin(commits, topic_id, answer, over))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _begin(self, commits: Begun, topic_id: str, answer: Future[Begun], over: Callable[[], bool]) -> None:
        origins = [self._origin(number, topic_id) for number in commits]
        while True:
            try:
                found = await self.watermarks.read(origins)
                break
            except Unavailable as error:
                if over():
                    answer.set_exception(error)
                    return
                await asyncio.sleep(PAUSE)
        begun = {number: older(commit, text) for (number, commit), text in zip(commits.items(), found, strict=True)}
        for number, (offset, _) in begun.items():
            if offset < commits[number][0]:
                log.warning(
                    "%s/%d: the store was told of %d last, and %d is committed: it is read again from there",
                    self.topic,
                    number,
                    offset,
                    commits[number][0],
                )
        answer.set_result(begun)

    def _origin(self, number: int, topic_id: str) -> str:
        # As `KafkaBatch.origin` has it.
        return f"{topic_id or self.topic}/{number}"


def older(commit: tuple[int, str | None], text: str) -> tuple[int, str | None]:
    """The older of a commit and a watermark. Of one offset, what the watermark says is finished is true of both.

    >>> older((120, "n2"), "0100 n1"), older((100, "n2"), "0100 n1"), older((100, "n1"), "0120 n2"), older((7, ""), "")
    ((100, 'n1'), (100, 'n1'), (100, 'n1'), (7, ''))
    """
    offset, _, note = text.partition(" ")
    return (int(offset), note) if offset and int(offset) <= commit[0] else commit
