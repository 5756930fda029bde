"""Dead letters sent to an endpoint, beside the store or instead of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from penstock.connectors import Endpoint, Message, Settings, Sink, Site
from penstock.errors import ConfigError
from penstock.pipeline.address import endpoint
from penstock.pipeline.letters.letters import Letter, line
from penstock.pipeline.place import place

STORE = "store"
VARIABLE = "PENSTOCK_DEAD"


def places(settings: Settings) -> tuple[bool, Endpoint | None]:
    """Where the settings want letters: whether in the store, and to which endpoint.

    Raises `ConfigError` where they name no place, or an endpoint that no letter can be sent to.

    >>> places(Settings({"PENSTOCK_DEAD": "store,kafka:dead"}))[1].address
    'kafka:dead'
    """
    names = [name.strip() for name in settings.process.dead.split(",") if name.strip()]
    others = [name for name in names if name != STORE]
    if not names or len(others) > 1:
        raise ConfigError(f"{VARIABLE} is {settings.process.dead!r}: write store, an address (kafka:dead), or both")
    return STORE in names, endpoint(others[0], settings) if others else None


class Copies:
    """Sends letters to one endpoint, and knows of each when it is confirmed.

    A letter goes as a CloudEvent of type `PIPELINE.dead`, under the letter's id and the key of its event. Its data is
    the line that `penstock dead import` reads.
    """

    def __init__(self, to: Endpoint, site: Site) -> None:
        self.where = place(to)
        self.pipeline = site.group
        self.sink: Sink = to.sink(site)
        self._topic = to.address if "//" in to.address else to.address.partition(":")[2]
        self._opened = False
        self._waiting: dict[int, asyncio.Future[None]] = {}

    async def open(self) -> None:
        """Connect. Raises `Unavailable` or `ConfigError`."""
        if not self._opened:
            await self.sink.open(self._settled)
            self._opened = True

    async def close(self) -> None:
        """Leave. Safe to call twice."""
        await self.sink.close()

    async def send(self, letter: Letter) -> None:
        """Send a letter, and wait until it is confirmed.

        Raises `Unavailable` in an outage, and `Undeliverable` where the endpoint refuses it for good.
        """
        message = Message(
            self._topic,
            line(self.pipeline, letter).rstrip(),
            letter.key.encode() or None,
            None,
            letter.id,
            f"/penstock/{self.pipeline}",
            f"{self.pipeline}.dead",
            letter.key,
            letter.at,
            stage=letter.stage,
        )
        confirmed = self._waiting[id(message)] = asyncio.get_running_loop().create_future()
        try:
            self.sink.send([message])
            await confirmed
        finally:
            del self._waiting[id(message)]

    def _settled(self, messages: Sequence[Message], error: BaseException | None) -> None:
        for message in messages:
            waiting = self._waiting.get(id(message))
            if waiting is None or waiting.done():
                continue
            if error is None:
                waiting.set_result(None)
            else:
                waiting.set_exception(error)
