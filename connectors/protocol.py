"""The three protocols that everything outside is reached through, and the place that opens them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from penstock.connectors.batch import Batch
from penstock.connectors.breaker import Watcher
from penstock.connectors.event import Message
from penstock.connectors.site import Site
from penstock.connectors.store.durability import Durability
from penstock.connectors.store.guard import Swap

if TYPE_CHECKING:
    from penstock.connectors.watermark import Watermarks

Settled: TypeAlias = Callable[[Sequence[Message], BaseException | None], None]
"""How a sink reports on the loop: these messages are confirmed (None), or ended with this exception."""


@runtime_checkable
class Source(Protocol):
    """Brings records in, and confirms them to where they came from once they are finished.

    The engine pulls: while it does not call `receive`, nothing more is read (each technology keeps its own
    connection alive meanwhile). `problem` is None while records can arrive, else one line for `/readyz`.
    """

    @property
    def problem(self) -> str | None: ...

    async def open(self) -> None:
        """Connect and subscribe. Raises `Unavailable` (tried again) or `ConfigError` (final)."""
        ...

    async def receive(self) -> Sequence[Batch]:
        """Wait until something has arrived and return all of it; an empty list once `stop` was called."""
        ...

    def stop(self) -> None:
        """Take nothing new; a pending `receive` returns. What was handed over may still finish."""
        ...

    async def confirm(self) -> None:
        """Confirm now whatever is finished, and wait until that is done."""
        ...

    async def close(self) -> None:
        """Confirm what is finished and leave. Safe to call twice."""
        ...

    def lag(self) -> int | None:
        """Records that wait at the origin, where that is known."""
        ...


@runtime_checkable
class Rewindable(Protocol):
    """A source that can go back to what it has confirmed: given `watermarks` before it is opened, it confirms nothing
    without them, and begins no further than they say.
    """

    watermarks: Watermarks | None


@runtime_checkable
class Sink(Protocol):
    """Takes actions out and reports each exactly once through `settled`.

    `ordered`: messages taken in order arrive in order (per target and key), so that a key need not wait for the
    confirmation. Where False, the engine holds the key until the message has settled.
    Failures: `Unavailable` is an outage and the engine sends the message again; `Undeliverable` is final.
    """

    ordered: bool

    @property
    def problem(self) -> str | None: ...

    async def open(self, settled: Settled) -> None:
        """Connect. `settled` is called on the loop's thread, once for every message taken."""
        ...

    def send(self, messages: Sequence[Message]) -> None:
        """Take these messages, in order, without waiting."""
        ...

    async def flush(self) -> None:
        """Wait until every message taken has settled."""
        ...

    async def close(self) -> None:
        """Flush and leave. Safe to call twice."""
        ...


@runtime_checkable
class Reconnecting(Protocol):
    """A store behind a connection, which may come back from another server process than it was lost to."""

    def watch(self, connected: Callable[[], None]) -> None:
        """Have this called on the loop whenever a lost connection has come back."""


@runtime_checkable
class Watched(Protocol):
    """A sink that itself knows when what it talks to is out, and holds messages meanwhile."""

    def watch(self, watcher: Watcher) -> None:
        """Tell of outages, from now on."""
        ...


@runtime_checkable
class Endpoint(Protocol):
    """Frozen data that names a place. Opening it is the engine's business.

    `address` is its one-line name as the command line writes it: `kafka:payments`. A technology whose records have no
    positions says `positions = False` on its class.
    """

    @property
    def address(self) -> str: ...

    def source(self, site: Site) -> Source:
        """A source that is not open yet. Raises `ConfigError` where a setting is missing."""
        ...

    def sink(self, site: Site) -> Sink:
        """A sink that is not open yet. Raises `ConfigError` where a setting is missing."""
        ...


@runtime_checkable
class Listed(Protocol):
    """An endpoint whose topic exists or does not: what is sent to another would make it, and nobody might read it."""

    async def topics(self, site: Site) -> Collection[str] | None:
        """Names of topics at its server, its own among them if it is there; None where any name is as good.

        Raises `Unavailable` or `ConfigError`.
        """
        ...


@runtime_checkable
class Store(Protocol):
    """Keyed state. Reads of many keys are one request, so that everything one loop tick wants is one write.

    Every call may raise `Unavailable`. Reads are sent again after a lost connection; a write whose reply was lost
    raises `Unavailable` with its outcome unknown, unless it is idempotent.
    """

    @property
    def problem(self) -> str | None: ...

    def durability(self) -> Awaitable[Durability]:
        """How safe what it has answered is from then on."""
        ...

    def clock(self) -> float:
        """Seconds, of whatever time keys and caches expire by."""
        ...

    def second(self) -> int:
        """The second of the store's own calendar, by which what it keeps for long is dated."""
        ...

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def read(self, keys: Sequence[str]) -> Awaitable[list[bytes | None]]:
        """The values of plain keys; None for one that is missing, or holds something else."""
        ...

    def read_hashes(self, keys: Sequence[str], fields: Sequence[str]) -> Awaitable[list[list[bytes | None] | None]]:
        """The same fields of several hashes, in order.

        A missing hash is a list of None; None stands for a key that holds something else.
        """
        ...

    def read_maps(self, keys: Sequence[str]) -> Awaitable[list[dict[bytes, bytes] | None]]:
        """All fields of several hashes, in order: empty where one is missing, None where a key holds something else."""
        ...

    def write(self, key: str, value: bytes, *, ttl: float | None = None) -> Awaitable[None]:
        """Set a plain key. Idempotent."""
        ...

    def write_many(self, wanted: Sequence[tuple[str, bytes, float]]) -> Awaitable[None]:
        """Set many plain keys as one request, each for its number of seconds. Idempotent."""
        ...

    def settle(self, key: str, value: bytes, ttl: float) -> Awaitable[bytes | None]:
        """Set a plain key for `ttl` seconds unless it is there: what it holds, None where this call has set it.

        Whoever comes first decides, and everybody learns what was decided. Idempotent: sent again after a lost reply,
        it may answer with its own value.
        """
        ...

    def settle_many(self, wanted: Sequence[tuple[str, bytes, float]]) -> Awaitable[list[bytes | None]]:
        """`settle` for many keys, values and times as one request; the answers in the same order."""
        ...

    def write_hash(self, key: str, values: Mapping[str, bytes | str | int | float]) -> Awaitable[None]:
        """Set fields of a hash. Idempotent."""
        ...

    def write_on(self, server: str, key: str, values: Mapping[str, bytes | str]) -> Awaitable[str]:
        """Set fields of a hash if the server process is still the one called `server`; what the one there is called.

        A process that was restarted, or another in its place, has another name. Idempotent.
        """
        ...

    def swap(self, swaps: Sequence[Swap]) -> Awaitable[list[bool]]:
        """Change hashes, each if its version is still the expected one; whether it was (see `store.guard`).

        All are one request, done in order; one that is not done stops none of the others. A key that holds something
        else has no version. One that is sent again after a lost reply may be denied though it was done: who reads
        the hash then, finds it.
        """
        ...

    def delete(self, keys: Sequence[str]) -> Awaitable[int]:
        """Remove keys; how many there were. Idempotent, though a repeat does not count what the first one removed."""
        ...

    def append(self, stream: str, entry: Mapping[str, bytes], *, id: str = "") -> Awaitable[str]:
        """Append to a log and return the entry's place. With an `id` it is written once, however often it is sent."""
        ...

    def entries(
        self, stream: str, *, after: str = "", count: int = 100
    ) -> Awaitable[list[tuple[str, dict[str, bytes]]]]:
        """Entries of a log in order, from the one that follows the place `after`."""
        ...

    def amend(self, stream: str, id: str, entry: Mapping[str, bytes]) -> Awaitable[bool]:
        """Put another entry in the place of the one that was appended with this id; whether there was one.

        Idempotent. The entry keeps its place in the log.
        """
        ...

    def remove(self, stream: str, ids: Sequence[str]) -> Awaitable[int]:
        """Take out the entries that were appended with these ids; how many there were.

        Idempotent, though a repeat does not count what the first one removed.
        """
        ...

    def length(self, stream: str) -> Awaitable[int]:
        """How many entries a log has."""
        ...

    def size(self, stream: str) -> Awaitable[int]:
        """About how many bytes a log takes; 0 where that is not known."""
        ...
