"""Which stages of a pipeline have state in the store, as against those that its declaration still has."""

from __future__ import annotations

import logging

import msgspec

from penstock.connectors import Store
from penstock.connectors.store.guard import LAYOUT
from penstock.errors import ConfigError
from penstock.pipeline.engine.marks import space
from penstock.pipeline.graph import Graph

log = logging.getLogger("penstock")


class Kept(msgspec.Struct, frozen=True):
    """What the store notes of one stage: the helper that keeps its state, and the layout it is kept in."""

    kind: str
    layout: int = LAYOUT


def stages_key(group: str) -> str:
    """The hash of the store in which the stages with state are noted, by name."""
    return f"penstock:{group}:stages"


async def compare(store: Store, group: str, graph: Graph, generation: str = "") -> list[str]:
    """Note the stages that update state, and tell of those that did when this pipeline last ran and are gone.

    Returns the names of the latter. Nothing is removed: a stage that was only renamed finds its state again under its
    old name. Raises `ConfigError` for state in the layout of another release, `Unavailable` where the store does not
    answer.
    """
    key = stages_key(group)
    [found] = await store.read_maps([key])
    if found is None:
        raise ConfigError(f"{key} holds something else than penstock keeps there: is it the right store?")
    known = {name.decode(): msgspec.json.decode(value, type=Kept) for name, value in found.items()}
    wanted = {stage: Kept(type(helper).__name__.lower()) for stage, helper in graph.updating.items()}
    for stage, kept in wanted.items():
        there = known.get(stage, kept)
        if there.layout != kept.layout:
            raise ConfigError(
                f"the state of {stage!r} is kept in layout {there.layout}, and this release has {kept.layout}"
            )
    if wanted.keys() - known.keys():
        await store.write_hash(key, {stage: msgspec.json.encode(kept) for stage, kept in wanted.items()})
    gone = sorted(known.keys() - wanted.keys())
    for stage in gone:
        log.warning(
            "%s has state of a stage %r, which its declaration does not have any more. If it was renamed, give it that "
            "name again with stage=%r; if it is gone for good: redis-cli --scan --pattern '%s*' | xargs redis-cli del; "
            "redis-cli hdel %s %s",
            graph.name,
            stage,
            stage,
            space(group, stage, generation),
            key,
            stage,
        )
    return gone
