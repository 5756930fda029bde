"""What a Kafka client is to the source and sink: two protocols, each kept by one file per client.

A consumer is used by one thread of its own (a commit from another thread than the one that polls stalls
confluent-kafka) and reports to a `Listener` from whatever thread it likes. A producer belongs to the loop.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from penstock.connectors.event import Message
from penstock.connectors.kafka.batch import Commits, KafkaBatch
from penstock.connectors.kafka.seat import Seat
from penstock.errors import PenstockError

if TYPE_CHECKING:
    from penstock.connectors.settings import KafkaSettings

MOST = 2048
"""Records that one poll takes at most."""

CONNECT = 5.0
"""Seconds to find a broker, and the topic on it, before opening has failed."""


class Subscription(msgspec.Struct, frozen=True):
    """What a consumer reads, and as whom."""

    settings: KafkaSettings
    topic: str
    group: str
    start: str
    client_id: str

    def seat(self) -> Seat | None:
        """A place in the group that a killed process finds again, where the settings ask for one."""
        settings = self.settings
        if settings.membership != "static" or settings.protocol != "classic":
            return None
        return Seat(f"{settings.address} {self.group}")


class Broken(Exception):
    """The client cannot go on and must be opened anew."""


class Fenced(Broken):
    """Another process has this member's name, so the member goes on without one."""

    def __init__(self, name: str, group: str) -> None:
        super().__init__(
            f"another process has come into the group {group!r} as {name!r}, the name of this member, which goes on "
            "without one: hosts that share a name need PENSTOCK_KAFKA_MEMBERSHIP=dynamic"
        )


class Listener(Protocol):
    """Who a consumer reports to. Every method may be called from any thread and returns at once."""

    def begin(
        self, topic_id: str, commits: Mapping[int, tuple[int, str | None]]
    ) -> Future[Mapping[int, tuple[int, str | None]]]:
        """These partitions come, with these commits. The answer: where to begin instead, each no further than that."""
        ...

    def assigned(self, topic_id: str, partitions: Sequence[int]) -> None:
        """These partitions are ours now, and their records may follow."""

    def revoked(self, partitions: Sequence[int]) -> Future[Commits]:
        """These leave us in good order. The answer comes when what runs is finished: what to commit before."""
        ...

    def lost(self, partitions: Sequence[int]) -> None:
        """Others have these already; nothing of them may be committed."""

    def committed(self, commits: Commits, error: Exception | None) -> None:
        """A commit has ended."""

    def trouble(self, problem: str | None) -> None:
        """Something is wrong that waiting may heal, or no longer is."""


class Consumer(Protocol):
    """A member of a consumer group that reads one topic."""

    def open(self) -> None:
        """Connect, resolve where to start, subscribe. Raises `Unavailable` or `ConfigError`."""

    def standing(self) -> tuple[str, Mapping[int, tuple[int, str | None]]]:
        """The topic's identity, and what the group has committed of it, without becoming a member: in place of `open`.

        Of a commit, the offset and its text, None where that cannot be read. Raises `Unavailable` or `ConfigError`.
        """
        ...

    def poll(self, seconds: float) -> Iterable[tuple[int, KafkaBatch]]:
        """Wait for records, up to `seconds`; by partition, as batches. Raises `Broken`."""
        ...

    def pause(self, partitions: Collection[int]) -> None:
        """Fetch nothing more of these, as far as they are ours, until `resume`; polling goes on."""

    def resume(self, partitions: Collection[int]) -> None: ...

    def commit(self, commits: Commits) -> None:
        """Begin to commit; `committed` tells the end, which may take further polls."""

    def group(self) -> Any:
        """This member, as a producer of the same client wants to have it. Called from any thread; raises `Broken`."""

    def lag(self) -> int | None:
        """Records that wait at the broker, as far as is known without asking it."""
        ...

    def close(self) -> None:
        """Leave the group. Safe at any time after the constructor."""


class Outlet:
    """Where a producer puts what has become of one sink's messages, until it reports them on the loop."""

    __slots__ = ("delivered", "failed", "report")

    def __init__(self, report: Report) -> None:
        self.report = report
        self.delivered: list[Message] = []
        self.failed: list[tuple[Message, PenstockError]] = []

    def flush(self) -> None:
        """Report what has gathered."""
        if self.delivered or self.failed:
            delivered, self.delivered = self.delivered, []
            failed, self.failed = self.failed, []
            self.report(delivered, failed)


Report = Callable[[Sequence[Message], Sequence[tuple[Message, PenstockError]]], None]
"""Told on the loop: these messages were delivered, those failed, each for its reason."""


class Producer(Protocol):
    """An idempotent producer, shared by the sinks of a process and used on the loop's thread.

    An outage is waited out inside: messages keep their order, and `problem` says that nothing arrives.
    """

    @property
    def problem(self) -> str | None: ...

    async def open(self) -> None:
        """Connect. Safe to call again. Raises `Unavailable` or `ConfigError`."""

    def send(self, messages: Sequence[Message], outlet: Outlet) -> None:
        """Take messages in order without waiting; each comes out at `outlet` later, never at once."""

    async def give_up(self) -> None:
        """Have all that is not delivered come out as `Unavailable`."""

    async def close(self) -> None:
        """Give up and leave. Safe to call twice."""


def legal(topic: str) -> bool:
    """Whether a broker would take this as a topic's name.

    >>> legal("payments.eu-1"), legal("no such/topic")
    (True, False)
    """
    return re.fullmatch(r"[A-Za-z0-9._-]{1,249}", topic) is not None and topic not in (".", "..")
