"""Records as columns: what a source hands over, and what each record still owes before it is finished."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import msgspec

from penstock.connectors.event import Event, Message


class Partition(msgspec.Struct, frozen=True):
    """Where records have positions: one partition of one topic, under the topic's lasting identity.

    `topic` is the identity (for Kafka the topic's UUID where it is known), `name` what people call it.

    >>> str(Partition("payments", 3))
    'payments/3'
    """

    name: str
    number: int = 0
    topic: str = ""

    def __str__(self) -> str:
        return f"{self.name}/{self.number}"


class Refusal(msgspec.Struct, frozen=True):
    """Why one record was not acted on, for a sender that waits for an answer.

    `status` is an HTTP status: 400, 413, 415 or 422 for what can never succeed, 503 for what may.
    """

    status: int
    reason: str
    path: str = ""
    letter: str = ""
    retry_after: float | None = None


class Batch:
    """Consecutive records of one partition, in order, as one source handed them over.

    `values` holds the payloads as bytes (already unwrapped where the record was a structured CloudEvent), or a
    `BadEvent` in place of one whose envelope could not be read. Sources subclass this for `event`, so that
    nothing but the columns is built until somebody asks.

    A record is *finished* when it owes nothing: `owed` keeps one byte a record, 1 until then. The contiguous
    finished prefix is therefore the run of zero bytes at its start.

    - `keys`: the record's own key where the transport has one (used for order when the source declares no `key=`).
    - `captures`: what the braces of the endpoint's template caught, by record, where there are any.
    - `waited`: a sender waits for the answer (HTTP): refusals go to it rather than to the dead letters.
    - `received`: the loop's clock when the records arrived; the latency budget counts from here.
    - `taken`: how many records the engine has started; with `fenced` set it starts no more of them.
    - `changed`: called on the loop after records finished; None where the source looks by itself.
    - `void`: the partition is another's by now, or its records come again: what is still decided for them is dropped.
    - `updates`: what a record's updates of state came to, packed, by record and then by stage and path. Whoever brings
      a record again that was processed in part (a replayed letter) fills it in: what stands there is not done again.

    - `again`: the engine has set these records aside and brings them back: to their source they are finished.

    >>> batch = Batch(Partition("payments"), [b"1", b"2", b"3"])
    >>> batch.settle(1); batch.finished()
    0
    >>> batch.settle(0); batch.finished()
    2
    """

    again: ClassVar[bool] = False

    __slots__ = (
        "_more",
        "answers",
        "captures",
        "changed",
        "fenced",
        "keys",
        "owed",
        "partition",
        "received",
        "taken",
        "updates",
        "values",
        "void",
        "waited",
    )

    def __init__(
        self,
        partition: Partition,
        values: Sequence[Any],
        *,
        keys: Sequence[bytes | str | None] | None = None,
        captures: Sequence[dict[str, str]] | None = None,
        changed: Callable[[Batch], None] | None = None,
        waited: bool = False,
        received: float = 0.0,
    ) -> None:
        self.partition = partition
        self.values = values
        self.keys = keys
        self.captures = captures
        self.changed = changed
        self.waited = waited
        self.received = received
        self.owed = bytearray(b"\1") * len(values)
        self.taken = 0
        self.fenced = self.void = False
        self.answers: dict[int, list[Message] | Refusal] = {}
        self.updates: dict[int, dict[str, bytes]] = {}
        self._more: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.values)

    @property
    def left(self) -> int:
        """How many records are not finished. Counted when asked: settling is the hot path, asking is not."""
        return self.owed.count(1)

    def event(self, index: int) -> Event:
        """The record's CloudEvents attributes, headers and original bytes (`data`). Built on demand."""
        raise NotImplementedError(f"{type(self).__name__} does not describe its records")

    def position(self, index: int) -> str:
        """The record's place in its partition, as text that sorts and never changes: the base of action ids."""
        return self.event(index).id

    def origin(self, index: int) -> str:
        """The lasting identity of the partition that the record came from; empty where records have no positions.

        Two records of one origin are the same event if, and only if, they have the same place.
        """
        return ""

    def place(self, index: int) -> str:
        """The record's position in its origin, as ASCII digits and dashes of a fixed width, so that texts sort as
        positions do. Empty where records have no positions: there only the event's id tells a repeat.
        """
        return ""

    def floor(self) -> str:
        """The place below which the origin has everything confirmed, so that nothing below it comes again. Empty where
        that is not known (yet).
        """
        return ""

    def owe(self, index: int, more: int) -> None:
        """This record waits for `more` further confirmations before it is finished."""
        self._more[index] = self._more.get(index, 0) + more

    def owes(self, index: int) -> int:
        """How many confirmations this record waits for."""
        return 1 + self._more.get(index, 0) if self.owed[index] else 0

    def settle(self, index: int) -> None:
        """One confirmation of this record arrived; with the last one it is finished."""
        if self._more:
            more = self._more.get(index)
            if more:
                if more == 1:
                    del self._more[index]
                else:
                    self._more[index] = more - 1
                return
        if self.owed[index]:
            self.owed[index] = 0
            if self.changed is not None:
                self.changed(self)

    def settle_run(self, start: int, stop: int) -> None:
        """Every record of `[start, stop)` that owes exactly its own processing is finished."""
        self.owed[start:stop] = bytes(stop - start)
        if self.changed is not None:
            self.changed(self)

    def finished(self) -> int:
        """Length of the contiguous finished prefix, in records."""
        return len(self.owed) - len(self.owed.lstrip(b"\0"))

    def answer(self, index: int, answer: list[Message] | Refusal) -> None:
        """Keep what the waiting sender is told when this record is finished: replies, or a refusal."""
        self.answers[index] = answer
