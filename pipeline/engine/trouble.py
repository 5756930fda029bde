"""What is done about an event that failed: tried again where it failed, given up, or, in an outage, held until the
dependency is back."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from penstock.connectors import Batch, Message
from penstock.errors import BadEvent, Unavailable, Undeliverable
from penstock.pipeline.code.program import Found, Program
from penstock.pipeline.engine import letter_writer
from penstock.pipeline.engine.flight import Flight, Part
from penstock.pipeline.engine.letter_writer import Cause, LetterWriter
from penstock.pipeline.engine.outages import Outages
from penstock.pipeline.engine.records import Records
from penstock.pipeline.engine.verdict import fatal, kinds, moment, reason_of
from penstock.pipeline.graph import Graph
from penstock.pipeline.letters.letters import users_line
from penstock.pipeline.lines import Lines
from penstock.stages.outcome import Reject, Retries, Retry, Wait
from penstock.stages.payload import refused
from penstock.stages.streak import unreachable

if TYPE_CHECKING:
    from penstock.pipeline.parking.spill import Spill


class Host(letter_writer.Host, Protocol):
    """What trouble needs of the engine, beside what a writer of letters needs."""

    graph: Graph
    stopping: bool

    def spawn(self, work: Coroutine[Any, Any, None]) -> None: ...


class Trouble:
    """Failures of one source's events.

    - `flights`: events in trouble now.
    - `failures`, `retries`, `waiting`: by stage, how often something failed and was tried again, and how many wait for
      their next try.
    - `room`: bounds how many are tried again at once.
    """

    def __init__(
        self,
        host: Host,
        outages: Outages,
        finish: Callable[[Flight], None],
        *,
        records: Records,
        slots: int,
    ) -> None:
        self.host = host
        self.outages = outages
        self.finish = finish
        self.records = records
        self.writer = LetterWriter(host, outages, records)
        self.program: Program | None = None
        self.room = asyncio.Semaphore(slots)
        self.flights = 0
        self.retries: dict[str, int] = defaultdict(int)
        self.waiting: dict[str, int] = defaultdict(int)
        self.failures: dict[str, int] = defaultdict(int)
        self.aside: Spill | None = None
        self._heads: dict[Any, Flight] = {}
        self._source = records.source.id
        self._tried = Lines(host.clock)

    # -- called by the written functions -------------------------------------------------------------------------

    def failed(
        self,
        error: BaseException,
        flight: Flight | None,
        batch: Batch,
        index: int,
        out: Any,
        payload: Any = None,
        key: Any = None,
    ) -> Flight:
        """Note where an event failed. Raises `error` again where it is not the event's but the process's end."""
        if fatal(error):
            raise error
        assert self.program is not None
        found = self.program.find(error.__traceback__) or Found(self._source, payload, (), ())
        if flight is None:
            origin = payload if payload is not None else found.origin
            flight = Flight(batch, index, key, None if found.node == self._source else origin, out)
        flight.parts.append(self._part(found, error, found.origin))
        return flight

    def refuse(self, error: BaseException, batch: Batch, index: int) -> None:
        """A record that could not be admitted: not the declared payload, or without its key."""
        if fatal(error):
            raise error
        assert self.program is not None
        flight = Flight(batch, index)
        found = self.program.find(error.__traceback__)
        raw = found.origin if found is not None else None
        flight.parts.append(self._part(Found(self._source, None, (), ()), error, raw))
        self.troubled(flight)

    def _part(self, found: Found, error: BaseException, origin: Any = None) -> Part:
        """A place in which an event failed, after which nobody needs the traceback.

        It holds the frame that ran the event, with every event that ran beside it, and that frame holds the failure: a
        circle, which would stay until garbage is looked for, or as long as the event waits for its next try.
        """
        where = users_line(error)
        error.with_traceback(None)
        return Part(found, self._about_the_key(error, origin) if found.node == self._source else error, where)

    def _about_the_key(self, error: BaseException, origin: Any) -> BaseException:
        """A payload that lacks its key field says so in the user's words; bytes as origin mean decoding failed."""
        if isinstance(error, AttributeError | KeyError | TypeError) and not isinstance(origin, bytes | None):
            key = self.records.source.key
            return BadEvent(f"the key field {key} is missing", path=f"$.{key}", status=422)
        return error

    def troubled(self, flight: Flight) -> None:
        """Decide what happens to each place where this event failed."""
        self.flights += 1
        self._decide(flight)

    def head(self, key: Any) -> Flight | None:
        """The event of a key that waits for its next try, if all of it does."""
        flight = self._heads.get(key)
        return flight if flight is not None and flight.waiting == flight.open and not flight.batch.waited else None

    # -- deciding ------------------------------------------------------------------------------------------------

    def _decide(self, flight: Flight) -> None:
        parts, flight.parts = flight.parts, []
        flight.open += len(parts)
        for part in parts:
            if not isinstance(part.error, Wait):
                self.failures[self._stage(part)] += 1
            self._one(flight, part)
        if flight.open == 0:
            self.flights -= 1
            self.finish(flight)

    def _one(self, flight: Flight, part: Part) -> None:
        error, retries = part.error, self._retries(part)
        if isinstance(error, Wait):
            self.host.clock.call_later(error.after, lambda: self._again(flight, part))
        elif isinstance(error, Unavailable):
            self.outages.hold(error.dependency, error, lambda: self._again(flight, part))
        elif self._final(part, retries) or (self.host.stopping and flight.batch.waited):
            self.host.spawn(self._give_up(flight, part))
        else:
            self._later(flight, part, retries)

    def _later(self, flight: Flight, part: Part, retries: Retries) -> None:
        """Try again when the wait is over; meanwhile nothing is held but the event's key."""
        error, stage = part.error, self._stage(part)
        delay = error.after if isinstance(error, Retry) else retries.delay(part.attempts, random.random())
        self.retries[stage] += 1
        self.waiting[stage] += 1
        flight.waiting += 1
        if flight.key is not None:
            self._heads[flight.key] = flight
        if self._tried.may(f"failed in {stage} and are tried again"):
            self._tried.tell(
                "event %s failed in %s (try %d of %d, %s): again in %.3f s, at %s",
                self.records.identify(flight.batch, flight.index, flight.payload),
                stage,
                part.attempts,
                retries.attempts,
                reason_of(error),
                delay,
                moment(self.host.clock.time() + delay),
            )

        def again() -> None:
            self.waiting[stage] -= 1
            flight.waiting -= 1
            if self._heads.get(flight.key) is flight:
                del self._heads[flight.key]
            self._again(flight, part)

        self.host.clock.call_later(delay, again)
        if self.aside is not None and flight.key is not None:
            self.aside.waits(flight, delay)

    def _final(self, part: Part, retries: Retries) -> bool:
        error = part.error
        if part.found.node == self._source or isinstance(error, Reject | BadEvent | Undeliverable):
            return True
        return not isinstance(error, (Retry, *kinds(retries))) or part.attempts >= retries.attempts

    def _retries(self, part: Part) -> Retries:
        return self.host.graph.retries(part.found.node, part.found.part)

    def _again(self, flight: Flight, part: Part) -> None:
        self.host.spawn(self._resume(flight, part))

    async def _resume(self, flight: Flight, part: Part) -> None:
        """Go on where the event failed, with what that stage had been given."""
        assert self.program is not None
        found = part.found
        if found.node == self._source:
            await self._give_up(flight, part)
            return
        run = self.program.resume(found)
        values = [value for _, value in found.scope]
        origin, given = flight.payload, found.payload
        try:
            if given is found.origin:  # what failed may have changed it before
                origin = given = self.records.fresh(flight.batch, flight.index)
        except Exception as error:
            flight.parts.append(self._part(found, error))
        else:
            async with self.room:
                await run(
                    flight, flight.batch, flight.index, origin, flight.key, flight.out, given, *values, *found.path
                )
        for one in flight.parts:
            if one.place == part.place:
                one.attempts = part.attempts + (0 if isinstance(one.error, Unavailable | Wait) else 1)
        if isinstance(part.error, Unavailable) and not any(
            isinstance(one.error, Unavailable) and one.error.dependency == part.error.dependency for one in flight.parts
        ):
            self._answered(flight, part, part.error.dependency)
        flight.open -= 1
        self._decide(flight)

    def _answered(self, flight: Flight, part: Part, dependency: str) -> None:
        """An event got through that waited for this, or met nobody once more and may not wait any longer."""
        if any(one.place == part.place and unreachable(one.error) for one in flight.parts):
            self.outages.give_up(dependency)
        else:
            self.outages.clear(dependency)

    async def _give_up(self, flight: Flight, part: Part) -> None:
        """Done with one place of the event, in the one way that is left."""
        error = refused(part.error) if part.found.node == self._source else None
        cause = Cause(self._stage(part), error or part.error, part.where, part.attempts, part.found.path)
        await self.writer.give_up(flight, cause)
        flight.open -= 1
        self._decide(flight)

    def undelivered(self, message: Message, to: str, error: BaseException) -> None:
        """The sink `to` refused this action for good."""
        self.failures[message.stage] += 1
        self.host.spawn(self.writer.undelivered(message, to, error))

    def _stage(self, part: Part) -> str:
        return self.host.graph.node(part.found.node).called
