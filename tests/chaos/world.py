"""One engine in a world that a test moves by hand, and what must be true of it at any moment."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence

import msgspec

from penstock.connectors import Refusal, Settings, Site
from penstock.pipeline.clock import ManualClock
from penstock.pipeline.engine import feed
from penstock.pipeline.engine.engine import Engine
from penstock.pipeline.letters.letters import Letter, Letters
from tests.chaos.fates import CONCURRENCY, Fates, Step
from tests.chaos.scripts import (
    PARTITIONS,
    WAITED,
    FrailStore,
    Origin,
    Outside,
    Played,
    PlayedSink,
    ScriptedSource,
    place,
)

SLICE = 256
"""Events that a loop may begin with before it looks whether it should, in so short a history."""

TURNS = 60
"""Turns of the loop after which nothing moves by itself."""


class World:
    """The engine, and everything that it talks to. `restart` is a crash; what is outside lives on."""

    def __init__(self, form: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock(1_750_000_000.0)
        self.fates = Fates(form)
        self.origin = Origin()
        self.store = FrailStore(lambda: self.clock.time())
        self.outsides = (Outside("first", "u", ordered=True), Outside("second", "v", ordered=False))
        self.answered: dict[str, object] = {}
        self.repeated = False
        self.begin()

    # -- moving --------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """A new process."""
        self.source = ScriptedSource(self.origin)
        self.sinks = [PlayedSink(outside) for outside in self.outsides]
        made = self.fates.pipeline(Played("in", self.source), *(Played(sink.outside.name, sink) for sink in self.sinks))
        self.engine = Engine(made.build(), Site(Settings({}), pipeline="fates"), self.store, clock=self.clock)
        self.loop.run_until_complete(self.engine.start())
        assert self.engine.lanes[0].program.form == self.fates.form
        self.turn()

    def crash(self, arrive: Sequence[int]) -> None:
        """The process ends at once; of what its sinks had not confirmed, the first ones have arrived."""
        for sink, count in zip(self.sinks, arrive, strict=True):
            sink.arrive(count)
        self.answered |= self.source.answers()
        self.clock = self.engine.clock = ManualClock(self.clock.time())
        self.repeated = True
        self.loop.run_until_complete(self._end())
        self.begin()

    async def _end(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def close(self) -> None:
        """End for good."""
        self.loop.run_until_complete(self._end())
        self.loop.close()

    def turn(self, move: Callable[[], object] = lambda: None, turns: int = TURNS) -> None:
        """Make a move on the loop, and let everything run that waits for nothing."""

        async def turned() -> None:
            move()
            for _ in range(turns):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turned())
        for task in (*self.engine.workers, *self.engine.pumps):
            if task.done():
                task.result()

    def calm(self) -> None:
        """Everything outside works again, and answers."""
        self.store.up, self.store.mute = True, False
        for outside in self.outsides:
            outside.up = True

    def settle(self) -> None:
        """With everything outside at work, run until nothing is left to do."""
        self.calm()

        def move() -> None:
            for gate in self.fates.running:
                if not gate.done():
                    gate.set_result(None)
            for sink in self.sinks:
                sink.confirm(range(len(sink.waiting)))
            self.clock.advance(1.0)

        for number, log in enumerate(self.origin.logs):
            self.source.deliver(number, len(log))
        for _ in range(1000):
            self.turn(move, 20)
            finished = all(self.source.finished(at) == len(log) for at, log in enumerate(self.origin.logs))
            if finished and not self.aside() and not self.engine.outages.down:
                break
        self.turn()

    # -- what must be true ---------------------------------------------------------------------------------------

    def dead(self) -> dict[str, set[str]]:
        """By event, the stages of its dead letters."""
        found: dict[str, set[str]] = defaultdict(set)
        up, self.store.up = self.store.up, True
        letters = self.loop.run_until_complete(Letters(self.store, "fates").read(count=10_000))
        self.store.up = up
        for _, letter in letters:
            found[letter.event].add(letter.stage)
        return found

    def aside(self) -> set[str]:
        """The events that lie in the store behind a key that waits: for their source they are finished."""
        logs = [log for name, log in self.store._keys.items() if ":parked:" in name and isinstance(log, list)]
        return {msgspec.json.decode(entry["letter"], type=Letter).event for log in logs for _, entry in log}

    def missing(self, partition: int, offset: int, step: Step | None, dead: dict[str, set[str]]) -> str:
        """What a finished record lacks; empty where it has everything."""
        name = place(partition, offset)
        refusal = {**self.answered, **self.source.answers()}.get(name) if partition == WAITED else None
        refused = isinstance(refusal, Refusal)
        if step is None:
            return "" if refused or name in dead else f"{name}: no letter and no answer"
        confirmed = {stage: outside.confirmed for stage, outside in zip(("one", "two"), self.outsides, strict=True)}
        acts = {id for stage, id in step.acts() if id not in confirmed[stage]}
        stages = step.dies() - dead.get(name, set())
        if acts or (stages and not refused):
            return f"{name} {step}: not confirmed {sorted(acts)}, no letter of {sorted(stages)}"
        return ""

    def check(self) -> None:
        """What holds at every moment."""
        dead, aside = self.dead(), self.aside()
        prefix = [self.source.finished(number) for number in range(PARTITIONS)]
        for number, offset, step in self.origin.records():
            if place(number, offset) not in aside and offset < max(prefix[number], self.origin.confirmed[number]):
                found = self.missing(number, offset, step, dead)
                assert not found, f"confirmed before it was finished: {found}"
        self._in_order()
        lane = self.engine.lanes[0]
        assert len(self.fates.running) <= 2 * CONCURRENCY, "more at once than the slots and those that are tried again"
        assert lane.feed.parked <= feed.PARKED + (SLICE if self.fates.form == "loop" else CONCURRENCY), lane.feed.parked

    def _in_order(self) -> None:
        """First actions of every key, by partition, are in the order of their events; and nobody acts unasked."""
        steps = {place(number, offset): (number, step) for number, offset, step in self.origin.records() if step}
        for stage, outside in zip(("one", "two"), self.outsides, strict=True):
            seen: dict[tuple[str, int], str] = {}
            for id in dict.fromkeys(outside.arrived):
                event = id.partition("/")[0]
                number, step = steps[event]
                assert (stage, id) in step.acts(), f"{id} was not asked for: {step}"
                last = seen.get((step.key, number), "")
                assert event >= last, f"{outside.name}, key {step.key}: {event} after {last}"
                seen[step.key, number] = event

    def check_end(self) -> None:
        """What holds when everything is up again and has run: each event has what its fate says, nothing is left."""
        self.settle()
        dead, answers, engine = self.dead(), {**self.answered, **self.source.answers()}, self.engine
        for number, log in enumerate(self.origin.logs):
            assert self.source.finished(number) == len(log), (
                f"partition {number}: {self.source.finished(number)} of {len(log)}: {self.told()}"
            )
        self.check()
        lane = engine.lanes[0]
        left = (
            lane.feed.parked,
            lane.feed.table,
            lane.holds.held,
            lane.trouble.flights,
            engine.outages.down,
            len(lane.feed.ready),
        )
        assert left == (0, {}, {}, 0, {}, 0)
        assert not any(box.unsettled for box in engine.outboxes.values())
        self._everything_once(dead, answers)

    def told(self) -> str:
        """What the engine is waiting for, for whoever reads of a failure."""
        lane, engine = self.engine.lanes[0], self.engine
        shut = any(map(engine.gate.shut, engine.lanes))
        unsettled = [box.unsettled for box in engine.outboxes.values()]
        return (
            f"{lane.feed.parked} behind {lane.feed.table}, {len(lane.feed.ready)} ready, {len(lane.holds.held)} held, "
            f"{lane.trouble.flights} in trouble, {unsettled} unsettled, shut: {shut}, "
            f"waiting for the clock until {self.clock.next_due()}, problems: {engine.problems()}"
        )

    def _everything_once(self, dead: dict[str, set[str]], answers: dict[str, object]) -> None:
        steps = [(place(number, offset), number, step) for number, offset, step in self.origin.records()]
        acts = [id for _, _, step in steps if step for _, id in step.acts()]
        arrived = [id for outside in self.outsides for id in outside.arrived]
        assert set(arrived) == set(acts), f"missing {set(acts) - set(arrived)}, unasked {set(arrived) - set(acts)}"
        for name, number, step in steps:
            stages = dead.get(name, set())
            if step is None:
                assert bool(stages) == (number != WAITED)
            else:
                # A sender that waits is told; only what the functions reject and sinks refuse leaves a letter.
                told = {"first"} if step.first == "always" else {"one"} if "R" in step.parts else set()
                gone = step.dies() - told if number == WAITED else step.dies()
                assert gone <= stages <= step.dies(), f"{name} {step}: letters of {stages}"
