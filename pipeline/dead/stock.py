"""The letters that a replay has still to give, read from the store as they are needed."""

from __future__ import annotations

import asyncio
from collections import deque

from penstock.errors import Unavailable
from penstock.pipeline.dead.post import Filter
from penstock.pipeline.dead.reading import BYTES, Reading
from penstock.pipeline.graph import Graph
from penstock.pipeline.letters.letters import Letter
from penstock.pipeline.serving.progress import Bar

ENOUGH = 1000
"""Letters in memory at which no more are read; or such as have `BYTES` together."""

PAUSE = 1.0
"""Seconds before a store that does not answer is asked again."""


class Choice:
    """Which letters are replayed: those that are wanted, save those whose senders were told, and those of no source.

    `informed`: also those whose senders were told; one that is named by its id is meant anyway. `told` and `lost` count
    what was left out, `stages` are the sources that the pipeline has no more. Ids stand for one letter each.
    """

    def __init__(self, graph: Graph, wanted: Filter | None = None, *, informed: bool = False) -> None:
        self.graph = graph
        self.wanted = wanted or Filter()
        self.informed = informed
        self.told = self.lost = 0
        self._named = 0
        self.stages: set[str] = set()

    def source(self, letter: Letter) -> str:
        """The source stage that a letter is replayed by; empty for one that is not."""
        if not self.wanted.admits(letter):
            return ""
        self._named += bool(self.wanted.ids)
        if letter.informed and not self.informed and not self.wanted.names(letter):
            self.told += 1
            return ""
        stage = entry(self.graph, letter)
        if not stage:
            self.lost += 1
            self.stages.add(letter.entry)
        return stage

    @property
    def all_there(self) -> bool:
        """Whether every letter has come that was named."""
        return bool(self.wanted.ids) and self._named == len(self.wanted.ids)


class Stock:
    """By source stage, the letters that wait to be replayed. No more are read while enough of them do.

    `unread` says that there may be more in the store.
    """

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self.unread = True
        self.waiting: dict[str, deque[Letter]] = {source.stage: deque() for source in choice.graph.sources}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return sum(len(waiting) for waiting in self.waiting.values())

    @property
    def full(self) -> bool:
        """Whether as many are in memory as should be."""
        size = sum(len(letter.data) for waiting in self.waiting.values() for letter in waiting)
        return len(self) >= ENOUGH or size >= BYTES

    async def read(self, reading: Reading, bar: Bar) -> None:
        """Read all letters there are, however long the store is away, and no faster than they are taken."""
        while self.unread:
            try:
                some = await reading.some()
            except Unavailable:
                await asyncio.sleep(PAUSE)
                continue
            bar.total = reading.total
            for letter in some:
                stage = self.choice.source(letter)
                if stage:
                    self.waiting[stage].append(letter)
                else:
                    bar.done += 1
            self.unread = bool(some) and not self.choice.all_there
            self.changed()
            while self.full:
                await self.change()

    def changed(self) -> None:
        """Have everybody look again who waits for a change."""
        self._changed.set()

    async def change(self) -> None:
        """Wait until something has been read or taken."""
        self._changed.clear()
        await self._changed.wait()


def entry(graph: Graph, letter: Letter) -> str:
    """The source stage by which a letter's event comes in; empty where the graph has it no more.

    A pipeline with one source has no other.
    """
    stages = [source.stage for source in graph.sources]
    return stages[0] if len(stages) == 1 else letter.entry if letter.entry in stages else ""
