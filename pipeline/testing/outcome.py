"""What a test sees of an event that it sent: the actions that came of it, or what became of it instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from penstock.connectors import Message, Refusal
from penstock.pipeline.letters.letters import Letter


@dataclass(frozen=True)
class Sent:
    """One action that the pipeline sent: decoded data, key, CloudEvents id and type, headers, act stage, target."""

    data: Any
    key: str
    id: str
    type: str
    headers: Mapping[str, str]
    stage: str
    to: str

    @classmethod
    def of(cls, message: Message) -> Sent:
        """A message as a test wants to see it."""
        data = None if message.value is None else _decoded(message.value)
        key = message.key.decode("utf-8", "replace") if message.key else ""
        return cls(data, key, message.id, message.type, message.headers or {}, message.stage, message.to)


@dataclass
class Outcome:
    """What became of one event.

    - `actions`: the data of what it made the pipeline send, in order, also past a `through`; `sent` has the same with
      keys and ids.
    - `reply`: what was acted to `Reply()`; None without one.
    - `refused`: what the sender is told instead, where the source answers (HTTP).
    - `dead`: its dead letter, if there is one.
    - `finished`: False while it waits for the clock, to be tried again.
    """

    sent: list[Sent] = field(default_factory=list)
    reply: Any = None
    refused: Refusal | None = None
    dead: Letter | None = None
    finished: bool = True

    @property
    def actions(self) -> list[Any]:
        return [one.data for one in self.sent]


def _decoded(value: bytes) -> Any:
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError:
        return value
