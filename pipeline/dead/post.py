"""Dead letters from outside the engine: those of one pipeline, or of every pipeline a store knows."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgspec

from penstock.connectors import Store
from penstock.connectors.duration import seconds
from penstock.errors import ConfigError, PenstockError
from penstock.pipeline.letters.letters import Letter, Letters
from penstock.pipeline.serving.local import Local
from penstock.pipeline.serving.progress import Bar

PIPELINES = "penstock:pipelines"
"""A hash of the store: every pipeline (with its namespace) that ever ran on it, and when it last began."""

AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters are wanted; what is empty does not matter. The checksum at an id's end may be left out.

    `since` and `until` are seconds since the epoch, of the last failure.
    """

    ids: Sequence[str] = ()
    stage: str = ""
    error: str = ""
    key: str = ""
    since: float = 0.0
    until: float = 0.0
    _ids: frozenset[str] = field(init=False, default=frozenset())

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ids", frozenset(self.ids))

    def __bool__(self) -> bool:
        """Whether it leaves anything out."""
        return bool(self.ids or self.stage or self.error or self.key or self.since or self.until)

    def names(self, letter: Letter) -> bool:
        """Whether the letter is one of those that were asked for by id."""
        return letter.id in self._ids or letter.id.rpartition("~")[0] in self._ids

    def admits(self, letter: Letter) -> bool:
        wanted = ((self.stage, letter.stage), (self.error, letter.error), (self.key, letter.key))
        return (
            (not self.ids or self.names(letter))
            and all(not want or want == have for want, have in wanted)
            and self.since <= letter.at
            and (not self.until or letter.at < self.until)
        )


def moment(text: str, now: float) -> float:
    """A moment as people write it, in seconds since the epoch: a time in UTC, or how long ago.

    >>> moment("10m", 1_000.0), moment("2023-11-14T22:13:20Z", 0.0), moment("2023-11-14", 0.0)
    (400.0, 1700000000.0, 1699920000.0)
    """
    try:
        return now - seconds(text)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text!r} is no time: write how long ago (10m, 2d) or when (2024-05-01T12:00Z)") from None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


async def enter(store: Store, pipeline: str) -> None:
    """Note in the store that this pipeline runs on it, so that its letters can be found without its code."""
    await store.write_hash(PIPELINES, {pipeline: str(int(time.time()))})


async def pipelines(store: Store) -> list[str]:
    """The pipelines that ever ran on a store."""
    [found] = await store.read_maps([PIPELINES])
    return sorted(name.decode() for name in found or {})


@asynccontextmanager
async def the_store() -> AsyncIterator[Store]:
    """The store of the settings, for one command."""
    from penstock.connectors.store.redis import RedisStore

    local = Local()
    try:
        store = RedisStore(local.site)
        try:
            await store.open()
            yield store
        finally:
            await store.close()
    finally:
        await local.close()


async def select(store: Store, pipeline: str, wanted: Filter) -> list[tuple[str, Letter]]:
    """The letters of a pipeline, or of all of them, in the order of their writing.

    Raises `PenstockError` where an id that was asked for is not there, or may be one of several.
    """
    known = await pipelines(store)
    if pipeline and pipeline not in known:
        there = f"; it knows {', '.join(known)}" if known else ""
        raise ConfigError(f"the store has never seen a pipeline {pipeline!r}{there}")
    found = [(name, letter) for name in ([pipeline] if pipeline else known) for letter in await of(store, name, wanted)]
    return _named(found, wanted) if wanted.ids else found


async def of(store: Store, pipeline: str, wanted: Filter) -> list[Letter]:
    """The letters of one pipeline."""
    letters = Letters(store, pipeline)
    found: list[Letter] = []
    with Bar(f"reading the letters of {pipeline}", await letters.count()) as bar:
        async for some in letters.pages(AT_ONCE):
            found += [letter for letter in some if wanted.admits(letter)]
            bar.add(len(some), f"{int(bar.done):,} letters")
    return found


def _named(found: list[tuple[str, Letter]], wanted: Filter) -> list[tuple[str, Letter]]:
    """For each id the one letter that has it."""
    named: list[tuple[str, Letter]] = []
    for id in dict.fromkeys(wanted.ids):
        exact = [one for one in found if one[1].id == id]
        close = exact or [one for one in found if one[1].id.rpartition("~")[0] == id]
        if not close:
            raise PenstockError(f"there is no dead letter {id!r}; `penstock dead list --no-group` shows their ids")
        if len(close) > 1:
            which = " or ".join(f"{letter.id} of {pipeline}" for pipeline, letter in close)
            raise PenstockError(f"{id!r} may be {which}: name one of them, with --pipeline where it is in several")
        named += close
    chosen = {(pipeline, letter.id) for pipeline, letter in named}
    return [one for one in found if (one[0], one[1].id) in chosen]


async def drop(store: Store, found: Iterable[tuple[str, Letter]]) -> int:
    """Take letters out of the store; how many there were."""
    ids: dict[str, list[str]] = {}
    for pipeline, letter in found:
        ids.setdefault(pipeline, []).append(letter.id)
    count = 0
    for pipeline, some in ids.items():
        rest = iter(some)
        while part := list(islice(rest, AT_ONCE)):
            count += await Letters(store, pipeline).remove(part)
    return count


def parsed(text: bytes, number: int) -> tuple[str, Letter]:
    """The pipeline and the letter of a line of an export. Raises `ConfigError` with the line's number."""
    try:
        fields: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
        return str(fields.pop("pipeline")), msgspec.convert(fields, Letter)
    except KeyError:
        raise ConfigError(f"line {number} does not say of which pipeline it is") from None
    except msgspec.DecodeError as error:
        raise ConfigError(f"line {number} is no dead letter: {error}") from None


async def put(store: Store, lines: Iterable[bytes]) -> tuple[int, int]:
    """Put exported letters into the store: how many were written, and how many there were already."""
    found = [parsed(text, number) for number, text in enumerate(lines, 1) if text.strip()]
    written = 0
    for pipeline in dict.fromkeys(name for name, _ in found):
        letters = Letters(store, pipeline)
        await enter(store, pipeline)
        before = await letters.count()
        for name, letter in found:
            if name == pipeline:
                await letters.write(letter)
        written += await letters.count() - before
    return written, len(found) - written
