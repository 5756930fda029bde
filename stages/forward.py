"""Events through a topic: written with what tells of their origin, and told of it again on the other side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penstock.connectors import Batch, Event, Message
from penstock.stages.act import Identify, Sent, Target
from penstock.stages.outcome import Reject
from penstock.stages.payload import encode_payload, text_of

MARK, ID, SOURCE, TYPE, SUBJECT = "origin", "originid", "originsource", "origintype", "originsubject"
"""CloudEvents extension attributes: what action ids begin with, and the attributes of the event that went in."""

TRACE = ("traceparent", "tracestate")
"""The extension attributes of distributed tracing: they go along."""


class Forwarding:
    """Builds the messages of one `through`.

    A message carries the event's own time, its identity and its trace in extension attributes. What the event was
    split into upstream is told apart by the message's own id.
    """

    def __init__(
        self,
        stage: str,
        pipeline: str,
        target: Target,
        *,
        key: Callable[[Any], Any],
        identify: Identify,
        describe: Callable[[Batch, int, Any, Any], Event],
    ) -> None:
        self.stage = stage
        self.source = f"/penstock/{pipeline}"
        self.type = f"{pipeline}.{stage}"
        self.target = target
        self.key = key
        self.identify = identify
        self.describe = describe

    def build(
        self, out: Sent, batch: Batch, index: int, origin: Any, key: Any, payload: Any, path: tuple[int, ...]
    ) -> None:
        """Append the message of one event to `out`. Raises `Reject` where its new key is missing."""
        name = text_of(self._key(payload))
        event, mark = self.describe(batch, index, origin, key), self.identify(batch, index, origin)
        own = f"{mark}/{self.stage}" + "".join(f".{number}" for number in path)
        said = {MARK: own if path else mark, ID: event.id, SOURCE: event.source, TYPE: event.type}
        said[SUBJECT] = event.subject
        said |= {name: event.headers[name] for name in TRACE if name in event.headers}
        message = Message(
            self.target.fixed,
            None if payload is None else encode_payload(payload),
            name.encode(),
            {f"ce_{name}": value for name, value in said.items() if value},
            own,
            self.source,
            self.type,
            name,
            event.time,
            batch,
            index,
            self.stage,
        )
        out.append((self.target.push, message))

    def _key(self, payload: Any) -> Any:
        try:
            key = self.key(payload)
        except (AttributeError, KeyError, TypeError) as error:
            raise Reject(f"{self.stage} has no key for this event ({type(error).__name__}: {error})") from error
        if key is None:
            raise Reject(f"{self.stage} has no key for this event: it is null")
        return key


def mark_of(event: Event) -> str:
    """What the ids of the actions of an event that came through a topic begin with; empty where it did not."""
    return event.headers.get(MARK, "")


def restored(event: Event) -> Event:
    """The event as it went in, under its new key.

    >>> came = Event("7/through(shops)", "/penstock/demo", key="shop", headers={"origin": "7", "originid": "7"})
    >>> restored(came).id, restored(came).key, restored(came).headers
    ('7', 'shop', {})
    """
    said = event.headers
    if MARK not in said:
        return event
    kept = {name: value for name, value in said.items() if not name.startswith(MARK)}
    return Event(
        said.get(ID, ""),
        said.get(SOURCE, ""),
        said.get(TYPE, ""),
        said.get(SUBJECT, ""),
        event.time,
        event.key,
        event.topic,
        kept,
        event.data,
    )
