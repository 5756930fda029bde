"""Which pipelines a store has letters of: each enters itself, so that they are found without its code."""

from __future__ import annotations

import time

from penstock.connectors import Store

PIPELINES = "penstock:pipelines"
"""A hash of the store: every pipeline (with its namespace) that ever ran on it, and when it last began."""


async def enter(store: Store, pipeline: str) -> None:
    """Note in the store that this pipeline runs on it, so that its letters can be found without its code."""
    await store.write_hash(PIPELINES, {pipeline: str(int(time.time()))})


async def pipelines(store: Store) -> list[str]:
    """The pipelines that ever ran on a store."""
    [found] = await store.read_maps([PIPELINES])
    return sorted(name.decode() for name in found or {})
