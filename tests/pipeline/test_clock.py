"""Time that tests move by hand."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.pipeline.clock import Clock, ManualClock, SystemClock

DELAYS = st.floats(min_value=0, max_value=1e6, allow_nan=False)


@given(st.lists(DELAYS, max_size=20), st.lists(DELAYS, min_size=1, max_size=5))
def test_timers_fire_in_order_each_at_its_own_moment(delays: list[float], steps: list[float]) -> None:
    clock = ManualClock(start=100.0)
    fired: list[tuple[float, float]] = []
    for delay in delays:
        clock.call_later(delay, lambda due=100.0 + delay: fired.append((due, clock.time())))  # type: ignore[misc]
    for step in steps:
        clock.advance(step)
    due = [moment for moment, _ in fired]
    assert due == sorted(due)
    assert all(moment == at for moment, at in fired)
    assert len(fired) == sum(100.0 + delay <= clock.time() for delay in delays)


def test_a_timer_set_by_a_timer_fires_on_the_way() -> None:
    clock = ManualClock()
    fired: list[float] = []
    clock.call_later(1.0, lambda: clock.call_later(1.0, lambda: fired.append(clock.time())))
    clock.advance(3.0)
    assert (fired, clock.monotonic()) == ([2.0], 3.0)


def test_a_cancelled_timer_does_not_fire() -> None:
    clock = ManualClock()
    fired: list[str] = []
    clock.call_later(1.0, lambda: fired.append("first")).cancel()
    clock.call_later(2.0, lambda: fired.append("second"))
    assert clock.next_due() == 2.0
    clock.advance(5.0)
    assert (fired, clock.next_due()) == (["second"], None)


async def test_a_block_times_out_when_the_clock_has_moved() -> None:
    clock = ManualClock()
    entered = asyncio.Event()

    async def wait() -> str:
        try:
            async with clock.timeout(5.0):
                entered.set()
                await asyncio.Event().wait()
        except TimeoutError:
            return "timed out"
        return "went through"

    waiting = asyncio.create_task(wait())
    await entered.wait()
    clock.advance(4.9)
    await asyncio.sleep(0)
    assert not waiting.done()
    clock.advance(0.2)
    assert await waiting == "timed out"


async def test_a_block_that_ends_in_time_leaves_no_timer() -> None:
    clock = ManualClock()
    async with clock.timeout(5.0):
        await asyncio.sleep(0)
    assert clock.next_due() is None


async def test_the_system_clock_is_the_loop_s() -> None:
    clock: Clock = SystemClock()
    fired = asyncio.Event()
    clock.call_later(0.0, fired.set)
    async with clock.timeout(10.0):
        await fired.wait()
    with pytest.raises(TimeoutError):
        async with clock.timeout(0.0):
            await asyncio.Event().wait()
    before = clock.monotonic()
    assert clock.monotonic() >= before
    assert clock.time() > 1_700_000_000
