"""Halving what a broker refuses for its size: who is found guilty, what is sent how often, in which order."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from penstock.connectors.event import Message
from penstock.connectors.kafka.oversized import Halving, Oversized
from penstock.errors import PenstockError, Unavailable

LIMIT = 8


class Broker:
    """Takes batches up to a size, and refuses all of a larger one."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.sent: list[list[Message]] = []

    def produce(self, messages: Sequence[Message]) -> None:
        self.sent.append(list(messages))

    def answer(self, halving: Halving) -> list[str]:
        """Answer the oldest batch; the names of those that failed for good."""
        batch = self.sent.pop(0)
        if sum(len(message.value or b"") for message in batch) > LIMIT:
            refused: list[tuple[Message, PenstockError]] = [(one, Oversized("too large")) for one in reversed(batch)]
            # In several reports, and in no order.
            found = halving.came_out([], refused[1::2]) if len(refused) > 1 else []
            found += halving.came_out([], refused[::2] if len(refused) > 1 else refused)
            return [message.id for message, _ in found]
        self.taken += [message.id for message in batch]
        assert halving.came_out(batch, []) == []
        return []


def messages(sizes: Sequence[int], start: int = 0) -> list[Message]:
    return [Message("t", bytes(size), id=str(start + at), time=float(start + at)) for at, size in enumerate(sizes)]


@given(st.lists(st.sampled_from([0, 1, 2, 3, LIMIT + 1]), min_size=1, max_size=40), st.integers(0, 5))
def test_the_guilty_stand_alone_and_the_rest_arrive_once_in_order(sizes: list[int], more: int) -> None:
    broker = Broker()
    halving = Halving(broker.produce)
    halving.send(messages(sizes))
    failed = broker.answer(halving)
    later = messages([1] * more, start=len(sizes))
    for one in later:
        halving.send([one])
    answers = 1
    while broker.sent:
        failed += broker.answer(halving)
        answers += 1
    guilty = [str(at) for at, size in enumerate(sizes) if size > LIMIT]
    assert sorted(failed) == sorted(guilty)
    expected = [str(at) for at in range(len(sizes) + more) if str(at) not in guilty]
    assert broker.taken == expected
    assert answers <= 2 * len(sizes) + more + 1


def test_one_guilty_among_many_costs_its_depth() -> None:
    broker = Broker()
    halving = Halving(broker.produce)
    halving.send(messages([0] * 37 + [LIMIT + 1] + [0] * 26))
    count = 0
    while broker.sent:
        broker.answer(halving)
        count += 1
    assert count <= 1 + 2 * 7
    assert len(broker.taken) == 63


def test_an_outage_is_nobodys_size() -> None:
    broker = Broker()
    halving = Halving(broker.produce)
    [one] = messages([1])
    halving.send([one])
    outage = Unavailable("kafka", "gone")
    assert halving.came_out([], [(one, outage)]) == [(one, outage)]
