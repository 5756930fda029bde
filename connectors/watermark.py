"""How far a pipeline's sources had come when the store was last told: where they go back to when it has lost something.

A store that dies may lose the last of what it had answered, while the source has confirmed the events behind it. Such
events would be missing from the state for ever. So before a source confirms, it writes into the store up to where it
is about to: its watermark. When the store turns out to be another process than before, restarted or replaced by its
replica, every source goes back to the watermark that is there then, and the guard of each update absorbs what is
repeated.

No barrier is needed for this, neither `WAITAOF` nor an fsync per commit. A server that comes back has a prefix of what
it had executed: the append-only file is written in order, and a replica gets the commands in order. All updates of
the events below a watermark were answered before it was sent, so they were executed before it; if the watermark is
there, so are they. And no floor of a guard rises above the watermark that is there (the script looks), so nothing that
is processed again from there on is taken for `late`.

It takes a source that can go back (Kafka, Redis streams). MQTT and HTTP cannot: what a store loses of theirs is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from penstock.connectors.protocol import Store

log = logging.getLogger("penstock")


class Watermarks:
    """The watermarks of one pipeline: a hash of the store under `key`, by origin.

    A watermark is a place (`Batch.place`) below which all is finished, and behind a space whatever its source needs to
    begin there. `server` is the server process that has everything this process was told it has, `origins` are those
    that have a watermark.
    """

    def __init__(self, store: Store, key: str) -> None:
        self.key = key
        self.server = ""
        self.origins: set[str] = set()
        self._store = store
        self._rewinds: list[Callable[[], None]] = []

    async def open(self) -> None:
        """Learn which server process there is. Raises `Unavailable`."""
        self.server = await self._store.write_on("", self.key, {})

    def watch(self, rewind: Callable[[], None]) -> None:
        """Have this called on the loop when the store has become another server: all sources at once.

        It must confirm nothing more of what it has handed over, and begin again at the watermarks.
        """
        self._rewinds.append(rewind)

    async def keep(self, places: Mapping[str, str], server: str) -> bool:
        """Write how far origins are about to be confirmed. False where that must not be done: the source is rewound.

        `server` is what it was when the places were read: what was finished under another one is not known to be there.
        Raises `Unavailable`; then nothing may be confirmed either.
        """
        if server != self.server:
            return False
        found = await self._store.write_on(server, self.key, places)
        if found == server:
            self.origins.update(places)
            return True
        if self.server == server:
            self.server = found
            log.warning(
                "the store is another server process than before, which may not have all that was answered: "
                "the sources go back to where it was last told they were"
            )
            for rewind in self._rewinds:
                rewind()
        return False

    async def read(self, origins: Sequence[str]) -> list[str]:
        """The watermarks of these origins, empty where there is none. Raises `Unavailable`."""
        [found] = await self._store.read_hashes([self.key], origins) if origins else [[]]
        return [(value or b"").decode() for value in found or [None] * len(origins)]
