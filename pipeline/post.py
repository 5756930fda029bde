"""Reading dead letters from outside the engine: those of one pipeline, or of every pipeline a store knows."""

from __future__ import annotations

import time
from dataclasses import dataclass

import msgspec

from penstock.connectors import Store
from penstock.errors import ConfigError
from penstock.pipeline.letters import Letter, Letters
from penstock.pipeline.progress import Bar

PIPELINES = "penstock:pipelines"
"""A hash of the store: every pipeline (with its namespace) that ever ran on it, and when it last began."""

AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters are wanted; what is empty does not matter. The checksum at an id's end may be left out."""

    id: str = ""
    stage: str = ""
    error: str = ""
    key: str = ""

    def admits(self, letter: Letter) -> bool:
        wanted = ((self.stage, letter.stage), (self.error, letter.error), (self.key, letter.key))
        named = not self.id or self.id == letter.id or self.id == letter.id.rpartition("~")[0]
        return named and all(not want or want == have for want, have in wanted)


async def enter(store: Store, pipeline: str) -> None:
    """Note in the store that this pipeline runs on it, so that its letters can be found without its code."""
    await store.write_hash(PIPELINES, {pipeline: str(int(time.time()))})


async def pipelines(store: Store) -> list[str]:
    """The pipelines that ever ran on a store."""
    [found] = await store.read_maps([PIPELINES])
    return sorted(name.decode() for name in found or {})


async def read(pipeline: str, wanted: Filter) -> list[tuple[str, Letter]]:
    """The letters of a pipeline, or of all, in the order of their writing, from the store of the settings."""
    from penstock.connectors.store import RedisStore
    from penstock.pipeline.local import Local

    local = Local()
    store = RedisStore(local.site)
    try:
        await store.open()
        known = await pipelines(store)
        if pipeline and pipeline not in known:
            there = f"; it knows {', '.join(known)}" if known else ""
            raise ConfigError(f"the store has never seen a pipeline {pipeline!r}{there}")
        names = [pipeline] if pipeline else known
        return [(name, letter) for name in names for letter in await _of(store, name, wanted)]
    finally:
        await store.close()
        await local.close()


async def _of(store: Store, pipeline: str, wanted: Filter) -> list[Letter]:
    letters = Letters(store, pipeline)
    found: list[Letter] = []
    after = ""
    with Bar(f"reading the letters of {pipeline}", await letters.count()) as bar:
        while True:
            try:
                some = await letters.read(after, AT_ONCE)
            except msgspec.DecodeError as error:
                raise ConfigError(f"the letters of {pipeline} are of another release: {error}") from error
            if not some:
                return found
            found += [letter for _, letter in some if wanted.admits(letter)]
            after = some[-1][0]
            bar.add(len(some), f"{int(bar.done):,} letters")
