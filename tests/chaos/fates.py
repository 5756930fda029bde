"""Events that carry their own fate, and the stages that follow it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

import msgspec

from penstock import Pipeline, Reject, Retries, Retry
from penstock.connectors import Endpoint
from penstock.stages import lookup

ATTEMPTS = 3
CONCURRENCY = 4


class Part(msgspec.Struct, frozen=True):
    """What an event falls into, and what is to become of it."""

    id: str
    key: str
    fate: str


class Step(msgspec.Struct, frozen=True):
    """An event. `first` is the fate of its first stage, `parts` holds one letter for each part it falls into.

    - `k` acts twice, `n` only the second time, `f` is filtered;
    - `r` raises once in the first act, `R` whenever it is tried; `y` asks for another try in the second, `x` rejects;
    - `u` is refused by the first act's sink, `v` by the second's.
    """

    id: str
    key: str
    first: str
    parts: str

    def acts(self) -> set[tuple[str, str]]:
        """Stage and id of every action that it is to cause."""
        if self.first in ("always", "reject"):
            return set()
        one = {("one", f"{self.id}/one.{at}") for at, fate in enumerate(self.parts) if fate in "krxyv"}
        two = {("two", f"{self.id}/two.{at}") for at, fate in enumerate(self.parts) if fate in "knrRyu"}
        return one | two

    def dies(self) -> set[str]:
        """The stages that end with a dead letter of it."""
        if self.first in ("always", "reject"):
            return {"first"}
        return {"one"} & {"one" for fate in self.parts if fate in "Ru"} | {"two" for fate in self.parts if fate in "xv"}


class Fates:
    """The stages, in the form that is asked for. What they have been through outlives the process.

    `running` holds the events that a slot holds at this moment, until the test lets them go.
    """

    def __init__(self, form: str) -> None:
        self.form = form
        self.tries: Counter[tuple[str, str]] = Counter()
        self.running: list[asyncio.Future[None]] = []

    def pipeline(self, source: Endpoint, first: Endpoint, second: Endpoint) -> Pipeline:
        """The pipeline between these endpoints."""
        made = Pipeline("fates", concurrency=CONCURRENCY, retry=Retries(ATTEMPTS, first="1s", longest="4s"))
        stream = made.source(source, schema=Step, key="key", id="id").transform(self.first)
        if self.form != "loop":
            stream = stream.enrich(known=lookup("known:{key}", str, default=""))
        if self.form == "slot":
            stream = stream.transform(self.slowly)
        parts = stream.transform(self.fall_apart).filter(self.kept)
        parts.act(self.one, to=first)
        parts.act(self.two, to=second)
        return made

    def first(self, step: Step) -> Step:
        """Succeeds at once, at the second try, never, or asks for time."""
        tries = self._tried(step.id, "first")
        if step.first == "reject":
            raise Reject("as its fate wants it")
        if step.first == "always" or (step.first == "once" and tries == 1):
            raise ValueError("as its fate wants it")
        if step.first == "later" and tries == 1:
            raise Retry("10s")
        return step

    async def slowly(self, step: Step) -> Step:
        """Waits until the test lets it go on."""
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.running.append(gate)
        try:
            await gate
        finally:
            self.running.remove(gate)
        return step

    def fall_apart(self, step: Step) -> Iterator[Part]:
        """One event for each letter."""
        for number, fate in enumerate(step.parts):
            yield Part(f"{step.id}.{number}", step.key, fate)

    def kept(self, part: Part) -> bool:
        """All but those that are to be filtered."""
        return part.fate != "f"

    def one(self, part: Part) -> str | None:
        """The first act."""
        if part.fate == "R" or (part.fate == "r" and self._tried(part.id, "one") == 1):
            raise ValueError("as its fate wants it")
        return None if part.fate == "n" else part.fate

    def two(self, part: Part) -> str:
        """The second act."""
        if part.fate == "x":
            raise Reject("as its fate wants it")
        if part.fate == "y" and self._tried(part.id, "two") == 1:
            raise Retry("3s")
        return part.fate

    def _tried(self, id: str, stage: str) -> int:
        self.tries[id, stage] += 1
        return self.tries[id, stage]
