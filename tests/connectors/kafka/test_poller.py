"""The thread that polls: what it does between polls, with a client that does as it is told."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import pytest

from penstock.connectors.batch import Partition
from penstock.connectors.kafka.batch import Commits, KafkaBatch, Progress
from penstock.connectors.kafka.poller import Poller
from tests.connectors.rig import until


class Scripted:
    """A consumer that has no records. `meanwhile` is done in the next poll, `failures` when it is opened once more."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], None] | None = None
        self.failures: list[Exception] = []
        self.opened = 0
        self.commits: list[Commits] = []
        self.closed = False

    def open(self) -> None:
        self.opened += 1
        if self.opened > 1 and self.failures:
            raise self.failures.pop()

    def standing(self) -> tuple[str, Mapping[int, tuple[int, str | None]]]:
        return "", {}

    def poll(self, seconds: float) -> Iterable[tuple[int, KafkaBatch]]:
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return ()

    def pause(self, partitions: Collection[int]) -> None:
        """Nothing comes anyway."""

    def resume(self, partitions: Collection[int]) -> None:
        """Nothing comes anyway."""

    def commit(self, commits: Commits) -> None:
        self.commits.append(commits)

    def group(self) -> Any:
        return None

    def lag(self) -> int | None:
        return None

    def close(self) -> None:
        self.closed = True


class Told:
    """Who is told of what the poller does."""

    def __init__(self) -> None:
        self.arrived: deque[tuple[Progress, KafkaBatch]] = deque()
        self.ended: list[tuple[Commits, Exception | None]] = []
        self.problems: list[str | None] = []

    def arrive(self) -> None:
        """Nothing does."""

    def trouble(self, problem: str | None) -> None:
        self.problems.append(problem)

    def lost(self, partitions: Sequence[int]) -> None:
        """None is."""

    def committed(self, commits: Commits, error: Exception | None) -> None:
        self.ended.append((commits, error))


async def test_a_commit_that_waits_while_its_partition_leaves_is_not_made() -> None:
    """The partition was committed further on when it left, and the next owner may have begun there."""
    consumer, told = Scripted(), Told()
    owned = {number: Progress(Partition("t", number)) for number in range(3)}
    poller = Poller(consumer, owned, told, asyncio.get_running_loop())
    await poller.open()
    begun, go_on = threading.Event(), threading.Event()

    def leave() -> None:
        begun.set()
        assert go_on.wait(30)
        del owned[0], owned[2]

    consumer.meanwhile = leave
    await until(begun.is_set)
    poller.commit({0: (7, "")})
    poller.commit({0: (7, ""), 1: (9, "")})
    go_on.set()
    await until(lambda: bool(consumer.commits))
    await poller.close()
    assert consumer.commits == [{1: (9, "")}]
    assert told.ended == [({}, None)], "who waits for the first is told that it has ended"
    assert consumer.closed


async def test_a_client_that_fails_as_nobody_foresaw_is_made_anew_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.connectors.kafka.poller.RETRY", 0.01)
    consumer, told = Scripted(), Told()
    consumer.failures = [RuntimeError("unforeseen")]
    poller = Poller(consumer, {}, told, asyncio.get_running_loop())
    await poller.open()
    poller.restart("it begins again")
    await until(lambda: consumer.opened == 3 and told.problems[-1:] == [None])
    assert told.problems == ["it begins again", "RuntimeError: unforeseen", None]
    await poller.close()
