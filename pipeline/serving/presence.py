"""Whether a topic is there before something is sent to it, or waited for from it."""

from __future__ import annotations

import difflib

from penstock.connectors import Endpoint, Site
from penstock.connectors.protocol import Listed

SHOWN = 5


async def absent(endpoint: Endpoint, site: Site) -> str:
    """That there is no such topic, and which are near it; empty where it is there, or nobody can say.

    Raises `Unavailable` or `ConfigError`.
    """
    if not isinstance(endpoint, Listed):
        return ""
    name = endpoint.address.partition(":")[2]
    topics = await endpoint.topics(site)
    if topics is None or name in topics:
        return ""
    near = difflib.get_close_matches(name, topics, n=1)
    if near:
        return f"there is no topic {name!r}; did you mean {near[0]!r}?"
    others = sorted(topic for topic in topics if not topic.startswith("__"))
    listed = ", ".join(others[:SHOWN]) + (f" and {len(others) - SHOWN:,} more" if len(others) > SHOWN else "")
    return f"there is no topic {name!r}; there {'is' if len(others) == 1 else 'are'} {listed or 'none at all'}"
