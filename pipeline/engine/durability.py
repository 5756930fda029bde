"""Whether the store keeps what counts on it, before anything does."""

from __future__ import annotations

from penstock.connectors import Store
from penstock.connectors.store.durability import Durability
from penstock.errors import ConfigError

VARIABLE = "PENSTOCK_DURABILITY"
SET = "set appendonly yes and appendfsync always there"


async def assure(store: Store, declared: str) -> None:
    """Refuse a store that may lose what it has answered, unless that was declared. Raises `ConfigError`, `Unavailable`.

    Dead letters are written there before their events are confirmed to the source, which then forgets them.
    """
    if declared != "memory":
        reason = objection(await store.durability(), declared)
        if reason:
            raise ConfigError(f"store: {reason}")


def objection(found: Durability, declared: str) -> str:
    """What is wrong with a store in view of what was declared, and what to do; empty where nothing is.

    >>> objection(Durability("second", "appendfsync everysec"), "second")
    ''
    """
    if found.level == "disk" or (found.level == "second" and declared == "second"):
        return ""
    if found.level == "unknown":
        if declared:
            return ""
        return (
            f"it does not tell how it keeps its data ({found.said}): allow this user +config|get, or vouch for it with "
            f"{VARIABLE}=disk (second or memory where that is what it does)"
        )
    if found.level == "second":
        return (
            f"it writes to disk once a second ({found.said}), so a machine that dies takes the dead letters of "
            f"up to two seconds along, whose events count as finished: {SET}, or accept that with {VARIABLE}=second"
        )
    return (
        f"it may lose what it was given ({found.said}), and dead letters count only on disk: {SET} and let it evict "
        f"nothing (maxmemory-policy noeviction), or accept their loss with {VARIABLE}=memory"
    )
