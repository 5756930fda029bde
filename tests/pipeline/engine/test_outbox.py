"""Outboxes: one hand-over for a loop tick, order kept through an outage."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hypothesis import example, given
from hypothesis import strategies as st

from penstock import Unavailable, Undeliverable
from penstock.connectors import Message
from penstock.pipeline.clock import ManualClock
from penstock.pipeline.engine.outbox import Outbox
from tests.pipeline.doubles import ScriptedSink


class Account:
    """In the place of a batch: which of its records were settled."""

    received = 0.0

    def __init__(self, settled: list[str]) -> None:
        self.settled = settled

    def settle(self, index: int) -> None:
        self.settled.append(str(index))


def message(number: int, settled: list[str]) -> Message:
    return Message("out", b"", id=str(number), batch=Account(settled), index=number)


def outbox(sink: ScriptedSink, clock: ManualClock, settled: list[str]) -> Outbox:
    return Outbox(
        sink,
        "scripted:out",
        clock=clock,
        outage=lambda dependency, error: None,
        recovered=lambda dependency: None,
        undelivered=lambda message, error: settled.append(f"refused {message.id}"),
        sampled=lambda message: None,
        unheld=lambda message: None,
        relieved=lambda: None,
    )


async def test_what_one_tick_pushes_leaves_together() -> None:
    taken: list[int] = []
    settled: list[str] = []

    class Counting(ScriptedSink):
        def send(self, messages: Sequence[Message]) -> None:
            taken.append(len(messages))
            super().send(messages)

    sink = Counting(lambda message: None, ordered=True)
    box = outbox(sink, ManualClock(), settled)
    await sink.open(box.settled)
    for number in range(5):
        box.push(message(number, settled))
    assert not box.idle
    for _ in range(3):
        await asyncio.sleep(0)
    assert (taken, settled, box.idle) == ([5], ["0", "1", "2", "3", "4"], True)


@example(bursts=[1, 1], outages={0}, refused={0})  # what an outage held is refused in the end: what came behind goes on
@given(
    bursts=st.lists(st.integers(0, 4), min_size=1, max_size=12),
    outages=st.sets(st.integers(0, 40)),
    refused=st.sets(st.integers(0, 20)),
)
def test_order_survives_any_outage(bursts: list[int], outages: set[int], refused: set[int]) -> None:
    """Whenever the broker is gone, messages stand in order where each was sent last, and each settles once."""
    asyncio.run(_order_survives(bursts, outages, refused))


async def _order_survives(bursts: list[int], outages: set[int], refused: set[int]) -> None:
    tick = [0]

    def answer(message: Message) -> BaseException | None:
        if tick[0] in outages:
            return Unavailable("broker", "gone")
        return Undeliverable("too large") if message.index in refused else None

    sink = ScriptedSink(answer, ordered=True)
    clock = ManualClock()
    settled: list[str] = []
    box = outbox(sink, clock, settled)
    await sink.open(box.settled)
    count = 0
    for burst in bursts:
        for _ in range(burst):
            box.push(message(count, settled))
            count += 1
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        tick[0] += 1
        clock.advance(0.3)
    for _ in range(60):
        tick[0] += 1
        clock.advance(10.0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    last = {message.id: place for place, message in enumerate(sink.taken)}
    assert sorted(last, key=last.__getitem__) == [str(number) for number in range(count)]
    ends = [f"refused {number}" if number in refused else str(number) for number in range(count)]
    assert sorted(settled) == sorted(ends)
    assert box.idle and box.confirmed == sum(number not in refused for number in range(count))
