"""Replaying dead letters: their events through the pipeline once more, and its actions to the real sinks."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from penstock.connectors import Batch, Endpoint, Site
from penstock.errors import PenstockError, Unavailable
from penstock.pipeline.dead.owed import Redirected
from penstock.pipeline.dead.reading import Reading
from penstock.pipeline.dead.stock import ENOUGH, Choice, Stock
from penstock.pipeline.dead.turn import Turn
from penstock.pipeline.engine.engine import Engine
from penstock.pipeline.engine.predictors import Predictors
from penstock.pipeline.graph import Graph
from penstock.pipeline.letters.again import LetterBatch
from penstock.pipeline.letters.letters import Failure, Letter, Letters
from penstock.pipeline.letters.scope import Scope
from penstock.pipeline.place import place
from penstock.pipeline.serving.local import Local
from penstock.pipeline.serving.progress import Bar
from penstock.pipeline.serving.run import GRACE

AT_ONCE = 64
"""Letters handed to the engine together."""


class Replayed(Letters):
    """In the place of the engine's letters: what fails again is noted with the letter that it came from."""

    def __init__(self, letters: Letters, scope: Scope) -> None:
        super().__init__(letters.store, letters.pipeline)
        self.scope = scope

    async def write(self, letter: Letter, batch: Batch | None = None) -> Letter:
        assert isinstance(batch, LetterBatch)
        if self.scope.concerns(batch.letter, letter):
            batch.failures.append(letter.failure)
        return batch.letter


class Replay:
    """One run of the letters that are chosen through the engine of their pipeline, in their order.

    They are read as they are needed: few of them are in memory, however many there are. A letter is taken out of the
    store when its event has finished, with all that it still owed confirmed. One that fails again stays, with its id,
    and with this failure beside those before it.

    - `rate`: letters a second at most; 0 for no limit.
    - `done`, `again`: how many have finished, and how many have failed once more.
    """

    def __init__(self, graph: Graph, choice: Choice | None = None, *, rate: float = 0.0) -> None:
        self.graph = graph
        self.rate = rate
        self.done = self.again = 0
        self.scope = Scope(graph)
        self.choice = choice or Choice(graph)
        self.stock = Stock(self.choice)
        self.bar = Bar(f"replaying letters of {graph.name}")
        self._began = time.monotonic()
        self._given = 0
        self._ended: list[LetterBatch] = []
        self._wake = asyncio.Event()
        self._begun = asyncio.Event()
        self._over = asyncio.Event()
        self._stopping = asyncio.Event()
        self._settling = asyncio.Lock()
        self._letters: Letters
        self._turn: Turn

    async def run(self) -> None:
        """Until every letter has finished or failed again, or `stop` is called.

        Raises `ConfigError` where the pipeline cannot run here.
        """
        from penstock.connectors.store.redis import RedisStore

        local = Local()
        try:
            site = Site(local.settings, pipeline=self.graph.name)
            engine = Engine(
                self.graph,
                site,
                RedisStore(site),
                models=Predictors(local.settings).load,
                endpoint=self.endpoint(local.stand_in),
            )
            await self.through(engine)
        finally:
            await local.close()

    async def through(self, engine: Engine) -> None:
        """Until every letter has finished or failed again, in an engine whose endpoints are this replay's."""
        # What was set aside belongs to the pipeline that runs.
        engine.spilling = False
        self._letters = engine.letters
        self._turn = Turn(engine.store, f"{self._letters.stream}:replay")
        engine.letters = Replayed(engine.letters, self.scope)
        with self.bar:
            await self._serve(engine)

    async def begin(self) -> None:
        """Begin, unless another process replays letters of this pipeline: then raises `PenstockError`."""
        other = await self._turn.take()
        if other:
            raise PenstockError(f"letters of {self.graph.name} are being replayed already, on {other}")
        self._begun.set()

    async def end(self) -> None:
        """Settle what has ended. Raises `Unavailable` in an outage."""
        try:
            await self.settle()
        finally:
            await self._turn.release()

    def stop(self) -> None:
        """Begin no other letter; those that have begun are finished."""
        self._stopping.set()
        self.stock.changed()

    @property
    def finished(self) -> bool:
        """Whether there is no letter that is neither done nor failed again."""
        return not self.stock.unread and not self.stock and self._given == self.done + self.again

    async def some(self, waiting: deque[Letter]) -> list[LetterBatch]:
        """The letters that come next, as fast as they may; none once there are no more."""
        while not self._stopping.is_set() and (waiting or self.stock.unread):
            if not waiting or len(self._ended) > ENOUGH:
                await self.stock.change()
                continue
            now = time.monotonic()
            may = int((now - self._began) * self.rate) + 1 - self._given if self.rate else AT_ONCE
            if may > 0:
                count = min(may, AT_ONCE, len(waiting))
                self._given += count
                self.stock.changed()
                return [self._batch(waiting.popleft()) for _ in range(count)]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._began + self._given / self.rate - now):
                    await self._stopping.wait()
        return []

    def _batch(self, letter: Letter) -> LetterBatch:
        batch = LetterBatch(letter, partial(self.scope.reaches, letter), received=time.monotonic())
        batch.changed = self._changed
        return batch

    def _changed(self, batch: Batch) -> None:
        assert isinstance(batch, LetterBatch)
        self._ended.append(batch)
        self._wake.set()

    async def _serve(self, engine: Engine) -> None:
        """The engine at work, until there is nothing left to do for it."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        life = asyncio.ensure_future(self._live(engine))
        ends = [asyncio.ensure_future(end.wait()) for end in (self._over, self._stopping)]
        settling = asyncio.ensure_future(self._settle())
        reading = asyncio.ensure_future(self._read())
        try:
            await asyncio.wait([life, settling, reading, *ends], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (life, reading, *ends):
                task.cancel()
            await asyncio.gather(life, reading, *ends, return_exceptions=True)
            await engine.stop(GRACE)
            settling.cancel()
            await asyncio.gather(settling, return_exceptions=True)
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
        for task in (life, reading, settling):
            if not task.cancelled():
                task.result()

    async def _live(self, engine: Engine) -> None:
        await engine.start()
        await engine.run()
        await self._over.wait()

    async def _read(self) -> None:
        await self._begun.wait()
        await self.stock.read(Reading(self._letters), self.bar)
        self._look()
        await self._over.wait()

    async def _settle(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.settle()
            except Unavailable:
                # The engine tells of the outage; what has ended is not forgotten.
                await asyncio.sleep(1.0)
                self._wake.set()

    async def settle(self) -> None:
        """Take out the letters whose events have finished, and amend those that failed again.

        Raises `Unavailable` in an outage; nothing is lost by calling it again.
        """
        async with self._settling:
            while self._ended:
                some = self._ended[:AT_ONCE]
                again = [letter for letter in (self._failed(batch) for batch in some) if letter is not None]
                for letter in again:
                    await self._letters.amend(letter)
                stays = {letter.id for letter in again}
                await self._letters.remove([batch.letter.id for batch in some if batch.letter.id not in stays])
                del self._ended[: len(some)]
                self.again += len(again)
                self.done += len(some) - len(again)
                self.bar.add(len(some), f"{self.done:,} done, {self.again:,} failed again")
                self.stock.changed()
        self._look()

    def _look(self) -> None:
        if self.finished:
            self._over.set()

    def _failed(self, batch: LetterBatch) -> Letter | None:
        """The letter as it stays; None where nothing is left to do."""
        letter, failures = batch.letter, batch.failures
        if not failures and letter.action and not batch.sent:
            reason = f"the pipeline does not make the action {letter.action} for {letter.to} any more"
            failures = [Failure(time.time(), letter.stage, "Missing", reason, "", 1)]
        if not failures:
            return None
        for failure in failures:
            letter = letter.failed(failure, batch.sent, batch.updates[0])
        return letter

    def endpoint(self, stand_in: Callable[[Endpoint], Endpoint]) -> Callable[[Endpoint], Endpoint]:
        """What takes the place of a declared endpoint: letters on the one side, what is still owed on the other."""
        entries = {place(stand_in(one)): node.stage for node in self.graph.sources for one in node.endpoints}
        made: dict[str, Redirected] = {}

        def redirected(declared: Endpoint) -> Endpoint:
            endpoint = stand_in(declared)
            if endpoint.address == "reply":
                return endpoint
            where = place(endpoint)
            if where not in made:
                on, method = getattr(endpoint, "on", ""), getattr(endpoint, "method", "POST")
                # Several endpoints of one source stage have their letters in common; the first brings them.
                waiting = self.stock.waiting.get(entries.pop(where, ""), deque())
                for other in [one for one, stage in entries.items() if self.stock.waiting[stage] is waiting]:
                    del entries[other]
                made[where] = Redirected(endpoint.address, endpoint, self, waiting, on, method)
            return made[where]

        return redirected
