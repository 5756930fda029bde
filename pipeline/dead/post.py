"""Dead letters from outside the engine: those of one pipeline, or of every pipeline a store knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeAlias

import msgspec

from penstock.connectors import Store
from penstock.connectors.duration import seconds
from penstock.errors import ConfigError, PenstockError
from penstock.pipeline.dead.reading import BYTES, Reading
from penstock.pipeline.letters.letters import Letter, Letters
from penstock.pipeline.letters.register import enter, pipelines
from penstock.pipeline.serving.local import Local
from penstock.pipeline.serving.progress import Bar

AT_ONCE = 100
"""Letters written together."""

FEW = 5
"""Letters that are told apart, where one id may be several."""


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


class Page(NamedTuple):
    """Some letters of a pipeline; `place` is how far its letters were read for them."""

    pipeline: str
    letters: list[Letter]
    place: str


Pages: TypeAlias = AsyncIterator[Page]


async def pages(store: Store, pipeline: str, wanted: Filter, upto: Mapping[str, str] | None = None) -> Pages:
    """The letters of a pipeline, or of all of them, in the order of their writing, some at a time.

    `upto` has by pipeline the last place that matters; no other pipeline matters then. Letters that are named by id are
    brought together, for they are few. Raises `PenstockError` where one of those is not there, or may be several.
    """
    known = await pipelines(store)
    if pipeline and pipeline not in known:
        there = f"; it knows {', '.join(known)}" if known else ""
        raise ConfigError(f"the store has never seen a pipeline {pipeline!r}{there}")
    names = [pipeline] if pipeline else known
    if upto is not None:
        names = [name for name in names if name in upto]
    found = _pages(store, names, wanted, upto or {})
    return _these(await _named(found, wanted)) if wanted.ids else found


async def _pages(store: Store, names: Sequence[str], wanted: Filter, upto: Mapping[str, str]) -> Pages:
    for name in names:
        reading = Reading(Letters(store, name), upto=upto.get(name, ""))
        with Bar(f"reading the letters of {name}") as bar:
            async for letters in reading:
                bar.set(reading.read, reading.total, f"{reading.read:,} letters")
                yield Page(name, [letter for letter in letters if wanted.admits(letter)], reading.place)


async def _these(found: Mapping[str, list[Letter]]) -> Pages:
    for name, letters in found.items():
        yield Page(name, letters, "")


async def _named(pages: Pages, wanted: Filter) -> dict[str, list[Letter]]:
    """By pipeline, for each id the one letter that has it."""
    exact: dict[str, list[tuple[str, Letter]]] = {}
    close: dict[str, list[tuple[str, Letter]]] = {}
    async for page in pages:
        for letter in page.letters:
            for table, id in ((exact, letter.id), (close, letter.id.rpartition("~")[0])):
                some = table.setdefault(id, [])
                if len(some) < FEW:
                    some.append((page.pipeline, letter))
    named: dict[str, dict[str, Letter]] = {}
    for id in wanted.ids:
        found = exact.get(id) or close.get(id, [])
        if not found:
            raise PenstockError(f"there is no dead letter {id!r}; `penstock dead list --no-group` shows their ids")
        if len(found) > 1:
            which = " or ".join(f"{letter.id} of {pipeline}" for pipeline, letter in found)
            raise PenstockError(f"{id!r} may be {which}: name one of them, with --pipeline where it is in several")
        [(pipeline, letter)] = found
        named.setdefault(pipeline, {})[letter.id] = letter
    return {pipeline: list(letters.values()) for pipeline, letters in named.items()}


async def one(store: Store, pipeline: str, id: str) -> Letter:
    """The letter with this id. Raises `PenstockError` where there is none, or several."""
    [page] = [page async for page in await pages(store, pipeline, Filter((id,)))]
    return page.letters[0]


async def drop(store: Store, pipeline: str, wanted: Filter, upto: Mapping[str, str] | None = None) -> int:
    """Take letters out of the store; how many there were."""
    count = 0
    async for page in await pages(store, pipeline, wanted, upto):
        count += await Letters(store, page.pipeline).remove([letter.id for letter in page.letters])
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


def checked(lines: Iterable[bytes]) -> None:
    """See that all of these are letters. Raises `ConfigError` with the number of the first line that is none."""
    for number, text in enumerate(lines, 1):
        if text.strip():
            parsed(text, number)


async def put(store: Store, lines: Iterable[bytes], size: int = 0) -> tuple[int, int]:
    """Put exported letters into the store: how many were written, and how many there were already.

    `size` is that of all lines, in bytes. Raises `ConfigError` at a line that is no letter; what was written until then
    is left there.
    """
    before: dict[str, int] = {}
    given = 0
    with Bar("writing letters", size) as bar:
        for part in _parts(enumerate(lines, 1)):
            found = [parsed(text, number) for number, text in part]
            for pipeline in dict.fromkeys(name for name, _ in found if name not in before):
                await enter(store, pipeline)
                before[pipeline] = await Letters(store, pipeline).count()
            await asyncio.gather(*[Letters(store, pipeline).write(letter) for pipeline, letter in found])
            given += len(found)
            bar.add(sum(len(text) for _, text in part), f"{given:,} letters")
    after = [await Letters(store, pipeline).count() for pipeline in before]
    written = sum(after) - sum(before.values())
    return written, given - written


def _parts(lines: Iterable[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    """Numbered lines, as many at a time as are sent together; empty ones are left out."""
    part: list[tuple[int, bytes]] = []
    size = 0
    for number, text in lines:
        if text.strip():
            part.append((number, text))
            size += len(text)
        if len(part) >= AT_ONCE or size >= BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part
