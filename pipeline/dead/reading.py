"""Reading the letters of a pipeline a few at a time: as many as there are, they never are in memory together."""

from __future__ import annotations

from typing import Self

from penstock.pipeline.letters.letters import Letter, Letters

MOST = 500
"""Letters in one request to the store, at most."""

BYTES = 4_000_000
"""About how many bytes one request brings, where that is not a single letter."""


class Reading:
    """The letters that are there when it begins, in the order of their writing; those that come meanwhile are not read.

    `upto` is the place of the last one that is wanted. `total` is how many there are, `read` how many have come, and
    `place` the place of the last of them.

        async for letters in Reading(Letters(store, "fraud")):
            ...
    """

    def __init__(self, letters: Letters, *, upto: str = "") -> None:
        self.letters = letters
        self.upto = upto
        self.total = self.read = 0
        self.place = ""
        self._count = 0

    async def some(self) -> list[Letter]:
        """The next ones; none at the end. Raises `Unavailable`, after which it may be called again."""
        if not self._count:
            await self.letters.measure()
            self.total = self.letters.known
            self._count = _fitting(self.letters.size / max(self.total, 1))
        if self.read >= self.total:
            return []
        found = await self.letters.read(self.place, min(self._count, self.total - self.read))
        if self.upto:
            found = [(place, letter) for place, letter in found if _order(place) <= _order(self.upto)]
        if not found:
            self.total = self.read
            return []
        self.read += len(found)
        self.place = found[-1][0]
        self._count = _fitting(sum(len(letter.data) + 1000 for _, letter in found) / len(found))
        return [letter for _, letter in found]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Letter]:
        found = await self.some()
        if not found:
            raise StopAsyncIteration
        return found


def _fitting(size: float) -> int:
    """How many letters of about this size are read at once."""
    return max(1, min(MOST, int(BYTES / max(size, 1.0))))


def _order(place: str) -> tuple[int, ...]:
    return tuple(int(part) for part in place.split("-"))
