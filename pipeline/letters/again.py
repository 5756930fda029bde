"""The event of a dead letter as a record that can be processed again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from penstock.connectors import Batch, Event, Partition
from penstock.connectors.cloudevents.envelope import unwrap
from penstock.connectors.mark import Mark
from penstock.errors import BadEvent
from penstock.pipeline.letters.letters import Failure, Letter

Due: TypeAlias = Callable[[str, tuple[int, ...]], bool]


class LetterBatch(Batch):
    """One letter's event, at the position it had. What has come of it this time is noted as it comes.

    `due` tells of a stage and the numbers of a child whether they are left to do. `failures`: where it failed again.
    `sent`: the ids of the actions that were confirmed.

    >>> letter = Letter("1/decide", "1", "decide", "E", "no", "", 1, 0.0, "t", "t/0/1", "k", {}, '{"n": 1}')
    >>> batch = LetterBatch(letter)
    >>> batch.values, batch.keys, batch.position(0)
    ([b'{"n": 1}'], ['k'], 't/0/1')
    """

    __slots__ = ("due", "failures", "letter", "sent")

    def __init__(self, letter: Letter, due: Due = lambda stage, path: True, received: float = 0.0) -> None:
        super().__init__(
            Partition(letter.partition or letter.topic),
            [value_of(letter)],
            keys=[letter.key or None],
            captures=[dict(letter.captures)] if letter.captures else None,
            received=received,
        )
        self.letter = letter
        self.due = due
        self.updates[0] = dict(letter.updates)
        self.failures: list[Failure] = []
        self.sent: list[str] = []

    def position(self, index: int) -> str:
        return self.letter.position

    def mark(self, stage: str, path: tuple[int, ...]) -> Mark:
        """The mark of the event at a stage that updates state.

        What the letter does not know to be done is done under the letter's id: the event's own position may be long
        below the floor. What is not left to do was done, or has a letter of its own: there the mark has no identity.
        """
        way = "".join([f".{step}" for step in path])
        return Mark(path=way, id=f"letter {self.letter.id}" if self.due(stage, path) else "", results=self.updates[0])

    def event(self, index: int) -> Event:
        return event_of(self.letter)


def event_of(letter: Letter) -> Event:
    """The event of a letter, with the payload that it has now."""
    return Event(
        letter.ce_id or letter.position,
        letter.source,
        letter.type,
        letter.subject,
        letter.time,
        letter.key,
        letter.topic,
        letter.headers,
        letter.payload,
    )


def value_of(letter: Letter) -> bytes | BadEvent | None:
    """What a source would have handed over: an envelope is taken off, but not of what was edited without it."""
    if letter.edited is not None:
        return letter.payload
    if letter.encoding == "none":
        return None
    if not letter.wrapped:
        return letter.original
    try:
        return unwrap(letter.original)[0]
    except BadEvent as error:
        return error
