"""Which generation of a pipeline's state this is: a new one begins where everything is to be counted again."""

from __future__ import annotations

from penstock.connectors import Store


def _key(group: str) -> str:
    return f"penstock:{group}:generation"


async def generation(store: Store, group: str) -> str:
    """The number of the generation; empty for the first one. Raises `Unavailable`."""
    [found] = await store.read([_key(group)])
    return (found or b"").decode()


async def follow(store: Store, group: str, before: str) -> str:
    """Begin the generation after this one, if nobody has. Raises `Unavailable`."""
    after = str(int(before or "0") + 1)
    await store.write(_key(group), after.encode())
    return after


def watermarks_key(group: str, generation: str) -> str:
    """The key of the watermarks: what is finished is counted in one generation.

    >>> watermarks_key("card-fraud", ""), watermarks_key("card-fraud", "1")
    ('penstock:card-fraud:watermarks', 'penstock:card-fraud:watermarks@1')
    """
    return f"penstock:{group}:watermarks" + (f"@{generation}" if generation else "")
