"""HTTP: paths that are listened on, URLs that are called, and the reply to a sender that waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NoReturn
from urllib.parse import urlsplit

import msgspec

from penstock.connectors import template
from penstock.connectors.duration import D, seconds
from penstock.connectors.site import Site
from penstock.errors import ConfigError, DeclarationError

if TYPE_CHECKING:
    from penstock.connectors.http.durable import HttpDurableSource
    from penstock.connectors.http.sink import HttpSink
    from penstock.connectors.http.source import HttpSource

NEEDED = "needs aiohttp: pip install 'penstock[http]'"


class Http(msgspec.Struct, frozen=True):
    """A path as a source, a URL as a sink.

    As a source, `Http("/orders/{order}")`: every process listens at `PENSTOCK_HTTP_LISTEN`. Accepted are one JSON
    event, CloudEvents (binary, structured, batch) and `application/x-ndjson`, one event a line. The sender gets its
    answer when everything it sent is finished: 200 with what was acted to `Reply()`, 202 without; 503 after `timeout`,
    while processing goes on. What may succeed another time is answered 503, what comes too fast 429, both with
    `Retry-After`. A request that comes again with its `Idempotency-Key` joins the one that runs; what that was answered
    is kept for `hold`, for every process of the pipeline; another body under the same key is a 422. Braces capture a
    segment of the path.

    With `durable=True` the answer is 202 once the events are in a stream of the store, on its disk. The pipeline reads
    them from there, in the order in which they were accepted by whichever of its processes; what fails then is a dead
    letter. An event whose id comes again within `hold` is not taken in twice. A full stream (`PENSTOCK_STREAM_FULL`) is
    answered 429. The store must have everything on disk before it answers (`appendfsync always`), unless
    `PENSTOCK_DURABILITY` says otherwise.

    As a sink, `Http("https://cards.example/block")`: a 2xx answer confirms the action; connection errors, time-outs
    (`timeout`), 408, 425, 429 and 5xx are tried again for `hold` (`Retry-After` is honoured), and then make a dead
    letter; any other answer does at once. Where several keys and a probe fail, the host is an outage: nothing is read,
    a probe now and then finds out; after `hold` reading goes on, and its events are dead letters until it answers.
    Every request carries the action's id as `Idempotency-Key`. What fills a brace is percent-encoded.

    >>> Http("/orders/{order}").address
    'http:/orders/{order}'
    """

    positions: ClassVar[bool] = False

    path_or_url: str
    method: str = "POST"
    timeout: D = "5s"
    hold: D = "1m"
    durable: bool = False

    def __post_init__(self) -> None:
        where = self.path_or_url
        if not where.startswith(("/", "http://", "https://")):
            raise DeclarationError(
                f"Http({where!r}): write a path (/payments) to listen on, or a URL (https://...) to call"
            )
        try:
            template.check(where)
            for length in (self.timeout, self.hold):
                seconds(length)
        except ValueError as error:
            raise DeclarationError(f"Http({where!r}): {error}") from None
        if not self.method.isalpha() or not self.method.isupper():
            raise DeclarationError(f"Http({where!r}): method is {self.method!r}, write for example method='PUT'")

    @property
    def address(self) -> str:
        """Its one-line name: `http:/payments` for a path, the URL for a URL."""
        return f"http:{self.path_or_url}" if self.path_or_url.startswith("/") else self.path_or_url

    def source(self, site: Site) -> HttpSource | HttpDurableSource:
        """A source that is not open yet. Raises `ConfigError` or `DeclarationError`."""
        try:
            from penstock.connectors.http.source import HttpSource
        except ModuleNotFoundError as error:
            raise ConfigError(f"{self.address} {NEEDED}") from error
        where = self.path_or_url
        if not where.startswith("/"):
            raise DeclarationError(
                f"{where} is a URL: a source listens on a path, like Http({urlsplit(where).path or '/'!r})"
            )
        if "?" in where or "#" in where or "+" in where.split("/"):
            raise DeclarationError(f"{self.address}: a path has no ?, no # and no level that is +")
        names = template.names(where)
        if len(set(names)) < len(names) or any("." in name for name in names):
            raise DeclarationError(f"{self.address}: each brace captures one field, under its own name without dots")
        if self.durable:
            from penstock.connectors.http.durable import HttpDurableSource

            return HttpDurableSource(self, site)
        return HttpSource(self, site)

    def sink(self, site: Site) -> HttpSink:
        """A sink that is not open yet. Raises `DeclarationError`."""
        try:
            from penstock.connectors.http.sink import HttpSink
        except ModuleNotFoundError as error:
            raise ConfigError(f"{self.address} {NEEDED}") from error
        if self.path_or_url.startswith("/"):
            raise DeclarationError(
                f"{self.address} is a path: an action goes to a URL, like Http('https://host{self.path_or_url}')"
            )
        return HttpSink(self, site)


class Reply(msgspec.Struct, frozen=True):
    """The answer to the sender that waits: what is acted here is the body of the HTTP source's 200.

    One value is answered as it is, several as a JSON array. The engine keeps replies with their record; there is
    nothing to open.

    >>> Reply().address
    'reply'
    """

    @property
    def address(self) -> str:
        """Its one-line name: `reply`."""
        return "reply"

    def source(self, site: Site) -> NoReturn:
        """Raises `DeclarationError`: nothing comes from here."""
        raise DeclarationError("Reply() is where actions go, not a source: use Http('/path')")

    def sink(self, site: Site) -> NoReturn:
        """Raises `DeclarationError`: replies leave through the source that waits for them."""
        raise DeclarationError("Reply() has no connection of its own: it answers what came in through Http('/path')")
