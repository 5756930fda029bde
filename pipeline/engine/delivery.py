"""An event's actions handed over, and the keys that wait until a sink without order has settled them."""

from __future__ import annotations

from typing import Any

from penstock.connectors import Batch, Message
from penstock.pipeline.engine.feed import Feed
from penstock.stages.act import Sent


def deliver(batch: Batch, index: int, out: Sent) -> None:
    """Hand an event's actions over, all at once; the event is finished when each is confirmed.

    Those of an event that is another's by now are dropped: whoever has it decides upon what it finds.
    """
    if batch.void:
        return
    if len(out) > 1:
        batch.owe(index, len(out) - 1)
    for push, message in out:
        push(message)


class Holds:
    """The keys of events whose actions a sink without order has and has not settled.

    Such a key stays in flight, so that the next event of it cannot overtake. `held` has, by batch and index of the
    event, how many of its messages are out, and the key.
    """

    def __init__(self, feed: Feed, *, keyed: bool) -> None:
        self.feed = feed
        self.keyed = keyed
        self.held: dict[tuple[int, int], list[Any]] = {}

    def deliver(self, batch: Batch, index: int, out: Sent, key: Any) -> bool:
        """Hand an event's actions over. True where its key stays in flight until they have settled."""
        if batch.void:
            return False
        count = sum(not getattr(push, "__self__").sink.ordered for push, _ in out if hasattr(push, "__self__"))  # noqa: B009
        holds = bool(count) and key is not None and self.keyed
        if holds:
            self.held[id(batch), index] = [count, key]
            self.feed.table.setdefault(key, None)
        deliver(batch, index, out)
        return holds

    def settled(self, message: Message) -> None:
        """A message of a sink without order has settled."""
        held = self.held.get((id(message.batch), message.index))
        if held is not None:
            held[0] -= 1
            if held[0] == 0:
                del self.held[id(message.batch), message.index]
                self.feed.free(held[1])
