"""The event of a dead letter as a record that can be processed again."""

from __future__ import annotations

from penstock.connectors import Batch, Event, Partition
from penstock.connectors.cloudevents import unwrap
from penstock.errors import BadEvent
from penstock.pipeline.letters import Failure, Letter


class LetterBatch(Batch):
    """One letter's event, at the position it had. What has come of it this time is noted as it comes.

    `failures`: where it failed again. `sent`: the ids of the actions that were confirmed.

    >>> letter = Letter("1/decide", "1", "decide", "E", "no", "", 1, 0.0, "t", "t/0/1", "k", {}, '{"n": 1}')
    >>> batch = LetterBatch(letter)
    >>> batch.values, batch.keys, batch.position(0)
    ([b'{"n": 1}'], ['k'], 't/0/1')
    """

    __slots__ = ("failures", "letter", "sent")

    def __init__(self, letter: Letter, received: float = 0.0) -> None:
        super().__init__(
            Partition(letter.partition or letter.topic),
            [_value(letter)],
            keys=[letter.key or None],
            captures=[dict(letter.captures)] if letter.captures else None,
            received=received,
        )
        self.letter = letter
        self.failures: list[Failure] = []
        self.sent: list[str] = []

    def position(self, index: int) -> str:
        return self.letter.position

    def event(self, index: int) -> Event:
        letter = self.letter
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


def _value(letter: Letter) -> bytes | BadEvent | None:
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
