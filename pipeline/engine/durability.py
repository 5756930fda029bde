"""Whether the store keeps what counts on it, before anything does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from penstock.connectors import Store
from penstock.connectors.store.durability import Durability
from penstock.errors import ConfigError, Unavailable

log = logging.getLogger("penstock")

VARIABLE = "PENSTOCK_DURABILITY"
AGAIN = 5.0
"""Seconds until a store that is less safe than it should be is asked again: it may be set right while it runs."""

SET = "set appendonly yes and appendfsync always there"


class Assurance:
    """Watches that the store is as safe as was declared: at the start, and whenever it was away and is back.

    Dead letters are written there before their events are confirmed to the source, which then forgets them. `problem`
    is one line for `/readyz` where it is not as safe any more.
    """

    def __init__(self, store: Store, declared: str, spawn: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self.store = store
        self._spawn = spawn
        self._due: asyncio.TimerHandle | None = None
        self.declared = declared
        self.problem = ""

    async def begin(self) -> None:
        """Refuse a store that may lose what it has answered, unless that was declared.

        Raises `ConfigError` or `Unavailable`.
        """
        reason = await self._objection()
        if reason:
            raise ConfigError(f"store: {reason}")

    async def again(self) -> None:
        """It was away, and may be another process with other settings: what runs goes on, and it is told."""
        self.close()
        with suppress(Unavailable):  # it is asked again when it is back
            before, reason = self.problem, await self._objection()
            self.problem = f"store: {reason}" if reason else ""
            if reason and not before:
                log.error("the store is back, and not as it was: %s", reason)
            if before and not reason:
                log.warning("the store keeps what it is told again as it should")
        if self.problem:
            self._due = asyncio.get_running_loop().call_later(AGAIN, lambda: self._spawn(self.again()))

    def close(self) -> None:
        """Ask no more."""
        if self._due is not None:
            self._due.cancel()
            self._due = None

    async def _objection(self) -> str:
        return objection(await self.store.durability(), self.declared) if self.declared != "memory" else ""


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
