"""Whatever happens, in whatever order: nothing is confirmed before it is finished, and every key keeps its order."""

from __future__ import annotations

import os
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock.pipeline.engine import feed, gate, runners
from tests.chaos.fates import Step
from tests.chaos.scripts import PARTITIONS, place
from tests.chaos.world import World

pytestmark = pytest.mark.slow
EXAMPLES = int(os.environ.get("CHAOS_EXAMPLES", "0"))
"""How many histories to try, other ones every time; by default the same few."""

PARTITION = st.integers(0, PARTITIONS - 1)
SINK = st.integers(0, 1)


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that a handful of events reach, and a slot that measures without resting."""
    monkeypatch.setattr(gate, "UNCONFIRMED", 12)
    monkeypatch.setattr(gate, "TROUBLED", 6)
    monkeypatch.setattr(feed, "PARKED", 5)
    monkeypatch.setattr(runners, "SAMPLE_SECONDS", 0.0)


class Machine(RuleBasedStateMachine):
    """A world in which anything may happen at any moment."""

    form: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.form)

    @rule(
        partition=PARTITION,
        keys=st.lists(st.sampled_from("ab") | st.sampled_from("cdefgh"), min_size=1, max_size=12),
        first=st.sampled_from(["ok"] * 12 + ["once", "later", "always", "reject", "broken"]),
        parts=st.text("k" * 12 + "nfrRyxuv", max_size=3),
        deliver=st.booleans(),
    )
    def produce(self, partition: int, keys: list[str], first: str, parts: str, deliver: bool) -> None:
        """Events of these keys; the first of them has this fate, the others are well."""
        log = self.world.origin.logs[partition]
        for number, key in enumerate(keys):
            step = Step(place(partition, len(log)), key, first if number == 0 else "ok", parts if number < 2 else "k")
            log.append(None if step.first == "broken" else step)
        if deliver:
            self.deliver(partition, len(keys))

    @rule(partition=PARTITION, count=st.integers(1, 12))
    def deliver(self, partition: int, count: int) -> None:
        self.world.turn(lambda: self.world.source.deliver(partition, count))

    @rule(sink=SINK, data=st.data())
    def confirm(self, sink: int, data: st.DataObject) -> None:
        """Some of what waits is confirmed, in any order."""
        waiting = len(self.world.sinks[sink].waiting)
        if waiting:
            order = data.draw(st.lists(st.integers(0, waiting - 1), unique=True, min_size=1))
            self.world.turn(lambda: self.world.sinks[sink].confirm(order))

    @rule(sink=SINK, arrived=st.integers(0, 6), down=st.booleans())
    def fail(self, sink: int, arrived: int, down: bool) -> None:
        """What waits meets an outage: a short one, or one that lasts."""
        self.world.outsides[sink].up = not down
        self.world.turn(lambda: self.world.sinks[sink].fail(arrived))

    @rule(sink=SINK)
    def recover(self, sink: int) -> None:
        self.world.outsides[sink].up = True

    @rule(up=st.booleans(), mute=st.booleans())
    def store(self, up: bool, mute: bool) -> None:
        """The store goes, comes back, or loses its answers."""
        self.world.store.up, self.world.store.mute = up, mute

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.world.turn(lambda: self.world.clock.advance(seconds))

    @rule(data=st.data())
    @precondition(lambda self: self.world.fates.running)
    def release(self, data: st.DataObject) -> None:
        """One of the functions that a slot waits for returns."""
        gate = self.world.fates.running[data.draw(st.integers(0, len(self.world.fates.running) - 1))]
        self.world.turn(lambda: gate.set_result(None))

    @rule(partition=PARTITION)
    def revoke(self, partition: int) -> None:
        """A partition goes to another owner and comes back, from where it was confirmed."""
        self.world.turn(lambda: self.world.source.fence(partition))

    @rule()
    def commit(self) -> None:
        self.world.loop.run_until_complete(self.world.source.confirm())

    @rule(arrived=st.tuples(st.integers(0, 6), st.integers(0, 2)))
    def crash(self, arrived: tuple[int, int]) -> None:
        self.world.calm()
        self.world.crash(arrived)

    @invariant()
    def holds(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        try:
            self.world.check_end()
        finally:
            self.world.close()


class Loop(Machine):
    form = "loop"


class Wave(Machine):
    form = "wave"


class Slot(Machine):
    form = "slot"


SETTINGS = settings(
    max_examples=EXAMPLES or 40,
    derandomize=not EXAMPLES,
    phases=[*Phase] if EXAMPLES else [Phase.generate],
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
TestLoop, TestWave, TestSlot = Loop.TestCase, Wave.TestCase, Slot.TestCase
TestLoop.settings = TestWave.settings = TestSlot.settings = SETTINGS
