"""An event in trouble: what it was, what it has done, and the places in which it failed."""

from __future__ import annotations

from typing import Any

from penstock.connectors import Batch
from penstock.pipeline.code.program import Found
from penstock.stages.act import Sent


class Part:
    """One place in which an event failed, and how often it has. `where` is the user's line that raised."""

    __slots__ = ("attempts", "error", "found", "where")

    def __init__(self, found: Found, error: BaseException, where: str = "") -> None:
        self.found = found
        self.error = error
        self.where = where
        self.attempts = 1

    @property
    def place(self) -> tuple[Any, ...]:
        """What its attempts are counted for: a function of a stage, for one child of the event."""
        return self.found.node, self.found.path, self.found.part


class Flight:
    """An event in trouble.

    - `payload`: the source's own, None where it could not be read; `out`: the actions it has decided so far.
    - `parts`: where it failed and nobody has decided yet what follows.
    - `open`: how many places are not done with; `waiting`: how many of those wait for their next try.
    """

    __slots__ = ("batch", "index", "key", "open", "out", "parts", "payload", "waiting")

    def __init__(self, batch: Batch, index: int, key: Any = None, payload: Any = None, out: Sent | None = None) -> None:
        self.batch = batch
        self.index = index
        self.key = key
        self.payload = payload
        self.out = out
        self.parts: list[Part] = []
        self.open = self.waiting = 0
