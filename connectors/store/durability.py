"""What a Redis or Valkey server does with what it has answered, before it could be lost."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

from penstock.connectors.store.command import pack
from penstock.connectors.store.connection import Connection
from penstock.connectors.store.reply import ReplyError

Level: TypeAlias = Literal["disk", "second", "memory", "unknown"]


class Durability(NamedTuple):
    """How safe it is what a store has answered, and the server's own words for it.

    - `disk`: it is on disk.
    - `second`: it is with the operating system, and on disk within a second or two: it survives the end of the server's
      process, and not that of the machine.
    - `memory`: it may be lost with the server's process, or thrown away when memory is full.
    - `unknown`: the server does not tell.
    """

    level: Level
    said: str


async def ask(connection: Connection) -> Durability:
    """Ask the server. Raises `Unavailable` in an outage.

    WAITAOF is not asked: a server that flushes once a second was seen to confirm up to 0.8 s before it did.
    """
    directives = pack("CONFIG", "GET", "append*") + pack("CONFIG", "GET", "maxmemory*")
    try:
        found = await connection.ask(directives, 2, again=True)
    except ReplyError as error:
        return Durability("unknown", str(error))
    return judged({_text(name): _text(value) for reply in found for name, value in _pairs(reply)})


def judged(directives: dict[str, str]) -> Durability:
    """What these directives of a server come to.

    >>> judged({"appendonly": "yes", "appendfsync": "always", "maxmemory": "0"})
    Durability(level='disk', said='appendfsync always')
    >>> judged({"appendonly": "yes", "appendfsync": "everysec"}).level
    'second'
    >>> judged({"maxmemory": "1000", "maxmemory-policy": "allkeys-lru", "appendonly": "yes", "appendfsync": "always"})
    Durability(level='memory', said='maxmemory-policy allkeys-lru')
    """
    if "appendonly" not in directives:
        return Durability("unknown", "CONFIG GET appendonly tells nothing")
    policy = directives.get("maxmemory-policy", "")
    if directives.get("maxmemory", "0") != "0" and policy.startswith("allkeys"):
        return Durability("memory", f"maxmemory-policy {policy}")
    if directives["appendonly"] != "yes":
        return Durability("memory", f"appendonly {directives['appendonly']}")
    sync = directives.get("appendfsync", "")
    levels: dict[str, Level] = {"always": "disk", "everysec": "second"}
    return Durability(levels.get(sync, "memory"), f"appendfsync {sync}")


def _pairs(reply: Any) -> list[tuple[Any, Any]]:
    """A map, as the third version of the protocol has it, or its parts in turn."""
    return list(reply.items()) if isinstance(reply, dict) else list(zip(reply[::2], reply[1::2], strict=True))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
