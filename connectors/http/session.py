"""What the HTTP sinks of a pipeline have in common: a client session, and what is known of each host."""

from __future__ import annotations

from aiohttp import ClientSession, DummyCookieJar, TCPConnector

from penstock.connectors.breaker import Breaker, Watcher
from penstock.connectors.site import Site

HOSTS = 1000
"""Hosts of which is kept how they are, beside those in trouble."""


class HttpSession:
    """The one client session of a pipeline in a process, and what is known of each host.

    `watcher` is told of outages.
    """

    def __init__(self, site: Site) -> None:
        self.watcher: Watcher | None = None
        self.breakers: dict[str, Breaker] = {}
        self._session: ClientSession | None = None
        site.on_close(self.close)

    def open(self) -> ClientSession:
        """The session; needs the running loop."""
        if self._session is None:
            # Each sink bounds itself; cookies of one action are none of another's business.
            self._session = ClientSession(connector=TCPConnector(limit=0), cookie_jar=DummyCookieJar())
        return self._session

    @staticmethod
    def host(url: str) -> str:
        """What an outage of a URL's host is called: `https://cards.example`."""
        name = "/".join(url.split("/", 3)[:3])
        if "@" not in name:
            return name
        scheme, _, rest = name.partition("//")
        return f"{scheme}//{rest.rpartition('@')[2]}"

    def breaker(self, url: str) -> Breaker:
        """What is known of the host of a URL."""
        name = self.host(url)
        found = self.breakers.get(name)
        if found is None:
            if len(self.breakers) >= HOSTS:
                self.breakers = {name: one for name, one in self.breakers.items() if one.wary}
            found = self.breakers[name] = Breaker(name, self.watcher)
        return found

    async def close(self) -> None:
        for breaker in self.breakers.values():
            breaker.close()
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()
