"""Commits of a Kafka source that follow a watermark in the store, and partitions that begin no further than it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future

from penstock.connectors.kafka.batch import Commits
from penstock.connectors.kafka.note import END, read
from penstock.connectors.watermark import Watermarks
from penstock.errors import Unavailable

log = logging.getLogger("penstock.kafka")

Begun = Mapping[int, tuple[int, str | None]]
"""By partition, the offset to begin at and the note of what is finished above it."""

PAUSE = 0.2
"""Seconds between two attempts to read the watermarks."""


class Marked:
    """The watermarks of one topic: the offset that is committed then, and behind a space its note.

    Behind that stands the offset which the partition began at where somebody else had committed it, until there is a
    commit of our own: else a process that dies before that would find its watermark above a commit that is not ours.

    `refuse` is told of partitions that somebody has put back below what is finished, without having said what the state
    is to be: nothing of them may be handed over.
    """

    def __init__(self, watermarks: Watermarks, topic: str, refuse: Callable[[str], None]) -> None:
        self.watermarks = watermarks
        self.topic = topic
        self.refuse = refuse
        self._foreign: dict[int, int] = {}
        self._untidy: dict[int, tuple[str, str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def keep(self, commits: Commits, topic_id: str, server: str) -> bool:
        """Write these down before they are committed. False where they must not be. Raises `Unavailable`.

        `server` is the watermarks' when the commits were read.
        """
        places = {}
        for number, (offset, note) in commits.items():
            where, mark = origin(self.topic, topic_id, number), f"{offset:019d} {note}"
            self._untidy.pop(number, None)
            if number in self._foreign:
                self._untidy[number] = where, mark
                mark += str(self._foreign[number])
            places[where] = mark
        return await self.watermarks.keep(places, server)

    def committed(self, commits: Commits) -> None:
        """The broker has these."""
        for number in commits:
            self._foreign.pop(number, None)

    async def tidy(self) -> None:
        """Take out of the watermarks what no commit needs any more. Raises `Unavailable`."""
        places = dict(mark for number, mark in self._untidy.items() if number not in self._foreign)
        if places and await self.watermarks.keep(places, self.watermarks.server):
            self._untidy = {number: mark for number, mark in self._untidy.items() if number in self._foreign}

    def begin(self, commits: Begun, topic_id: str, answer: Future[Begun], over: Callable[[], bool]) -> None:
        """Have it answered where to begin: at the commit or at the watermark, whichever is older.

        However long the store is away: to begin further on would lose what it lost. Not beyond the time when it is
        `over`.
        """
        task = asyncio.get_running_loop().create_task(self._begin(commits, topic_id, answer, over))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _begin(self, commits: Begun, topic_id: str, answer: Future[Begun], over: Callable[[], bool]) -> None:
        origins = [origin(self.topic, topic_id, number) for number in commits]
        while True:
            try:
                found = await self.watermarks.read(origins)
                break
            except Unavailable as error:
                if over():
                    answer.set_exception(error)
                    return
                await asyncio.sleep(PAUSE)
        marks = dict(zip(commits, found, strict=True))
        back = {number: place for number, mark in marks.items() if (place := put_back(commits[number], mark))}
        if back:
            where = (f"partition {number} from {place} to {commits[number][0]}" for number, place in back.items())
            self.refuse(f"{self.topic} was put back: {', '.join(where)}")
            answer.set_result(commits)
            return
        begun: dict[int, tuple[int, str | None]] = {}
        for number, commit in commits.items():
            self._foreign.pop(number, None)
            begun[number] = older(commit, marks[number])
            if foreign(commit):
                # It is meant, also where it is further on.
                self._foreign[number], begun[number] = commit[0], commit
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


def origin(topic: str, topic_id: str, number: int) -> str:
    """What watermarks call a partition, as `KafkaBatch.origin` has it."""
    return f"{topic_id or topic}/{number}"


def put_back(commit: tuple[int, str | None], mark: str) -> int:
    """Where everything was finished up to, if the commit is below that and was made by somebody else; else 0.

    A commit of our own may be below its watermark, which was written first.

    >>> put_back((7, ""), f"{120:019d} note;"), put_back((7, ""), f"{120:019d} note;7"), put_back((120, ""), "0000120 ")
    (120, 0, 0)
    """
    place, _, rest = mark.partition(" ")
    if not place or int(place) <= commit[0] or not foreign(commit):
        return 0
    return 0 if rest.rpartition(END)[2].strip() == str(commit[0]) else int(place)


def foreign(commit: tuple[int, str | None]) -> bool:
    """Whether somebody else has made a commit: its text is no note. None, which cannot be read, says nothing."""
    offset, text = commit
    return text is not None and read(text, offset) is None


def older(commit: tuple[int, str | None], text: str) -> tuple[int, str | None]:
    """The older of a commit and a watermark. Of one offset, what the watermark says is finished is true of both.

    >>> older((120, "n2"), "0100 n1"), older((100, "n2"), "0100 n1"), older((100, "n1"), "0120 n2"), older((7, ""), "")
    ((100, 'n1'), (100, 'n1'), (100, 'n1'), (7, ''))
    """
    offset, _, note = text.partition(" ")
    return (int(offset), note) if offset and int(offset) <= commit[0] else commit
