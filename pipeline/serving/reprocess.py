"""What becomes of state when somebody has put a group back: kept as it is, or begun anew."""

from __future__ import annotations

import asyncio
import logging
from typing import Literal

from penstock.connectors import Settings, Site, Store
from penstock.connectors.kafka.source import KafkaSource
from penstock.connectors.kafka.watermark import put_back
from penstock.connectors.watermark import Watermarks
from penstock.pipeline.engine.generation import follow, generation, watermarks_key
from penstock.pipeline.graph import Graph

log = logging.getLogger("penstock")

Choice = Literal["keep-state", "new-state"]


async def reprocess(graph: Graph, settings: Settings, choice: Choice) -> None:
    """Note in the store what was chosen for the partitions that were put back since they were last read.

    Before the pipeline begins. Done once, it is done: a second time finds nothing put back, and changes nothing.
    Raises `Unavailable` or `ConfigError`.
    """
    from penstock.connectors.store.redis import RedisStore

    if not graph.updating:
        log.info("%s keeps no state: there is nothing to choose for what is read again", graph.name)
        return
    site = Site(settings, pipeline=graph.name)
    store = RedisStore(site)
    await store.open()
    try:
        await choose(graph, site, store, choice)
    finally:
        await store.close()
        await site.close()


async def choose(graph: Graph, site: Site, store: Store, choice: Choice) -> None:
    """The same, on a store that is open."""
    number = await generation(store, site.group)
    key = watermarks_key(site.group, number)
    commits = await _commits(graph, site)
    found = await Watermarks(store, key).read(list(commits))
    back = {
        origin: (place, commit[0])
        for (origin, commit), mark in zip(commits.items(), found, strict=True)
        if (place := put_back(commit, mark))
    }
    if not back:
        log.info("%s: no partition was put back since it was last read: nothing is changed", graph.name)
        return
    for origin, (place, offset) in back.items():
        log.warning("%s: partition %s was put back from %d to %d", graph.name, origin, place, offset)
    if choice == "keep-state":
        await store.write_hash(key, {origin: f"{offset:019d} " for origin, (_, offset) in back.items()})
        log.warning("%s: what is read again finds the state as it is, and does not change it", graph.name)
        return
    after = await follow(store, site.group, number)
    log.warning(
        "%s: state begins anew, as generation %s. The one before stays until it is removed: "
        "redis-cli --scan --pattern '%s*' | xargs redis-cli del",
        graph.name,
        after,
        f"penstock:{site.group}:state{f'@{number}' if number else ''}:",
    )


async def _commits(graph: Graph, site: Site) -> dict[str, tuple[int, str | None]]:
    """What is committed of every partition of Kafka that the pipeline reads."""
    sources = [endpoint.source(site) for node in graph.sources for endpoint in node.endpoints]
    looks = [asyncio.to_thread(source.standing) for source in sources if isinstance(source, KafkaSource)]
    return {origin: commit for found in await asyncio.gather(*looks) for origin, commit in found.items()}
