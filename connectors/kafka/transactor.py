"""What one transaction takes: a client's transactional producer, and how it says that a message is refused."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

import msgspec

from penstock.connectors.event import Message
from penstock.connectors.kafka.batch import Commits
from penstock.errors import PenstockError


class Refused(Exception):
    """A message of a transaction will never be taken: one of these, which a broker has refused in one batch."""

    def __init__(self, messages: Sequence[Message], reason: PenstockError) -> None:
        super().__init__(str(reason))
        self.messages = messages


class Offsets(msgspec.Struct, frozen=True):
    """What one member of a group commits. `group` is how its client named it to a producer when that was decided."""

    topic: str
    commits: Commits
    group: Any


class Transactor(Protocol):
    """A transactional producer, used by one thread, on which every call blocks."""

    def open(self) -> None:
        """Connect, fence whoever has had the name, end what it left open. Raises `Unavailable` or `ConfigError`."""

    def transact(self, messages: Sequence[Message], alone: Collection[str], offsets: Sequence[Offsets]) -> None:
        """Begin, produce, commit. Messages with an id of `alone` share a batch with no other.

        Raises `Refused`, or whatever says that it did not come to the commit.
        """

    def close(self) -> None:
        """Leave at once, and whatever is open. Safe to call twice."""
