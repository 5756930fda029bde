"""From what an act function returned to messages: encoded, addressed, identified."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from penstock.connectors import Action, Batch, Message
from penstock.stages.payload import encode, encode_any, text_of

Push = Callable[[Message], None]
Sent = list[tuple[Push, Message]]

RECORD = ".record"
"""Ends the id of a decision's record, which has that of the decision before it."""


class Identify(Protocol):
    """The identity of the event at a record, given its source payload."""

    def __call__(self, batch: Batch, index: int, payload: Any) -> str: ...


def parts_of(message: Message) -> tuple[str, tuple[int, ...]]:
    """What an action's id was made of: the event's id, and the numbers after the stage's name.

    >>> parts_of(Message("t", b"", id="payments/0/17/decide.2.0", stage="decide"))
    ('payments/0/17', (2, 0))
    """
    event, _, numbers = message.id.removesuffix(RECORD).rpartition(f"/{message.stage}")
    return event, tuple(int(number) for number in numbers.split(".")[1:])


class Target:
    """One endpoint that a stage acts to: how its address is filled, and where messages for it are put."""

    __slots__ = ("fill", "fixed", "push")

    def __init__(self, push: Push, to: str, fill: Callable[..., str] | None) -> None:
        self.push = push
        self.fixed = to
        self.fill = fill


class Acting:
    """Builds the messages of one act stage.

    An action's id is the event's id, the stage's name, and where the event has several children or the function
    returned a list, their numbers: the same for every time the event is processed.
    """

    def __init__(
        self,
        stage: str,
        pipeline: str,
        targets: Sequence[Target],
        *,
        key: Callable[..., Any] | None,
        identify: Identify,
        clock: Callable[[], float],
    ) -> None:
        self.stage = stage
        self.pipeline = pipeline
        self.source = f"/penstock/{pipeline}"
        self.type = f"{pipeline}.{stage}"
        self.ways = [(target.push, target.fixed, target.fill) for target in targets]
        self.key = key
        self.identify = identify
        self.clock = clock

    def build(
        self,
        out: Sent,
        batch: Batch,
        index: int,
        origin: Any,
        key: Any,
        payload: Any,
        result: Any,
        path: tuple[int, ...],
    ) -> None:
        """Append the messages for `result` to `out`; a list is one action for each of its elements."""
        identity = f"{self.identify(batch, index, origin)}/{self.stage}"
        for number in path:
            identity += f".{number}"
        if result.__class__ is not list:
            self._message(out, identity, batch, index, key, payload, result)
            return
        for number, one in enumerate(result):
            if one is not None:
                self._message(out, f"{identity}.{number}", batch, index, key, payload, one)

    def _message(self, out: Sent, identity: str, batch: Batch, index: int, key: Any, payload: Any, result: Any) -> None:
        headers, kind, subject, data, own = None, self.type, "", result, None
        if result.__class__ is Action:
            data, headers, own = result.data, result.headers, result.key
            kind, subject = result.type or kind, result.subject
        if own is not None:
            key = own
        elif self.key is not None:
            key = self.key(data, payload)
        name = key if key.__class__ is str else text_of(key)
        value = None if data is None else encode(data)
        for push, fixed, fill in self.ways:
            # By position: this is made for every action, and keywords cost a third more.
            message = Message(
                fixed if fill is None else fill(data, payload),
                value,
                name.encode() if name else None,
                headers,
                identity,
                self.source,
                kind,
                subject,
                self.clock(),
                batch,
                index,
                self.stage,
            )
            out.append((push, message))


class Recording(Acting):
    """Builds the record of a decision: what the event was, what was found out about it, and what was decided.

    It shares the id of the decision, followed by `.record`. Records are for building datasets, so what JSON cannot hold
    is written as its `repr` rather than refused.
    """

    def __init__(self, acting: Acting, target: Target) -> None:
        super().__init__(
            acting.stage, acting.pipeline, [target], key=None, identify=acting.identify, clock=acting.clock
        )
        self.type = f"{acting.type}{RECORD}"

    def whole(self, payload: Any, result: Any, found: dict[str, Any]) -> bytes:
        """The record, to be built as an action is."""
        decided = [
            one.data if one.__class__ is Action else one for one in (result if isinstance(result, list) else [result])
        ]
        return encode_any({"stage": self.stage, "payload": payload, "found": found, "actions": decided})

    def _message(self, out: Sent, identity: str, batch: Batch, index: int, key: Any, payload: Any, result: Any) -> None:
        super()._message(out, identity + RECORD, batch, index, key, payload, result)
