"""The streams that a server has as topics."""

from __future__ import annotations

from penstock.connectors.store.command import pack
from penstock.connectors.store.connection import Connection

MARK = ":partitions"
"""Behind a stream's name, the key that says how many partitions it has: made with it."""

AT_ONCE, ROUNDS = 1000, 100
"""Keys that one request looks at, and how many are sent at most: the server may hold millions of others."""


async def streams(connection: Connection, wanted: str) -> frozenset[str]:
    """Names of streams: `wanted`, if there is one, and others as far as they are found. Raises `Unavailable`."""
    await connection.open()
    found: set[str] = set()
    [there] = await connection.ask(pack("EXISTS", wanted + MARK), again=True)
    if there:
        return frozenset({wanted})
    cursor = b"0"
    for _ in range(ROUNDS):
        [answer] = await connection.ask(pack("SCAN", cursor, "MATCH", f"*{MARK}", "COUNT", AT_ONCE), again=True)
        cursor, keys = answer
        found.update(key.decode("utf-8", "replace").removesuffix(MARK) for key in keys)
        if cursor == b"0":
            break
    return frozenset(found)
