"""What happens to an event that failed: tried again where it failed, kept as a dead letter, refused to its sender,
or, in an outage, held until the dependency is back."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol
from zlib import crc32

from msgspec.structs import replace

from penstock.connectors import Batch, Message, Refusal
from penstock.errors import BadEvent, Unavailable, Undeliverable
from penstock.pipeline.clock import Clock
from penstock.pipeline.code.program import Found, Program
from penstock.pipeline.engine.outages import Outages
from penstock.pipeline.engine.records import Records
from penstock.pipeline.engine.verdict import fatal, kinds, moment, reason_of, refusal
from penstock.pipeline.graph import Graph
from penstock.pipeline.letters.letters import Letter, Letters, as_text, users_line
from penstock.pipeline.lines import Lines
from penstock.stages.act import parts_of
from penstock.stages.outcome import Reject, Retries, Retry, Wait
from penstock.stages.payload import refused, text_of

if TYPE_CHECKING:
    from penstock.pipeline.parking.spill import Spill


class Part:
    """One place in which an event failed, and how often it has."""

    __slots__ = ("attempts", "error", "found")

    @property
    def place(self) -> tuple[Any, ...]:
        """What its attempts are counted for: a function of a stage, for one child of the event."""
        return self.found.node, self.found.path, self.found.part

    def __init__(self, found: Found, error: BaseException) -> None:
        self.found = found
        self.error = error
        self.attempts = 1


class Flight:
    """An event in trouble: what it was, what it has done, and the places where it still has to go on."""

    __slots__ = ("batch", "index", "key", "letters", "open", "out", "parts", "payload", "trouble", "waiting")

    def __init__(self, trouble: Trouble, batch: Batch, index: int, key: Any, payload: Any, out: Any) -> None:
        self.trouble = trouble
        self.batch = batch
        self.index = index
        self.key = key
        self.payload = payload
        self.out = out
        self.parts: list[Part] = []
        self.open = self.waiting = 0
        self.letters: list[str] = []


class Host(Protocol):
    """What trouble needs of the engine."""

    graph: Graph
    clock: Clock
    letters: Letters
    stopping: bool

    def spawn(self, work: Coroutine[Any, Any, None]) -> None: ...
    def wake(self) -> None: ...


class Trouble:
    """Failures of one source's events."""

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
        self.program: Program | None = None
        self.room = asyncio.Semaphore(slots)
        self.flights = 0
        self.retries: dict[str, int] = defaultdict(int)
        self.waiting: dict[str, int] = defaultdict(int)
        self.failures: dict[str, int] = defaultdict(int)
        self.aside: Spill | None = None
        self._heads: dict[Any, Flight] = {}
        self._tried = Lines(host.clock)
        self._given_up = Lines(host.clock, logging.WARNING)

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
        found = self.program.find(error.__traceback__) or Found(self.program.source.id, payload, (), ())
        if flight is None:
            origin = payload if payload is not None else found.origin
            flight = Flight(self, batch, index, key, None if found.node == self._source else origin, out)
        flight.parts.append(
            Part(found, self._about_the_key(error, found.origin) if found.node == self._source else error)
        )
        return flight

    def refuse(self, error: BaseException, batch: Batch, index: int) -> None:
        """A record that could not be admitted: not the declared payload, or without its key."""
        if fatal(error):
            raise error
        assert self.program is not None
        flight = Flight(self, batch, index, None, None, None)
        found = self.program.find(error.__traceback__)
        raw = found.origin if found is not None else None
        flight.parts.append(Part(Found(self.program.source.id, None, (), ()), self._about_the_key(error, raw)))
        self.troubled(flight)

    def _about_the_key(self, error: BaseException, origin: Any) -> BaseException:
        """A payload that lacks its key field says so in the user's words; bytes as origin mean decoding failed."""
        assert self.program is not None
        if isinstance(error, AttributeError | KeyError | TypeError) and not isinstance(origin, bytes | None):
            key = self.program.source.key
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

    def whole(self, batch: Batch, index: int, key: Any) -> Letter:
        """A record as it came, with everything that is needed to process it later."""
        return self._letter(Flight(self, batch, index, key, None, None), "", LookupError(), None)

    # -- deciding ------------------------------------------------------------------------------------------------

    def _decide(self, flight: Flight) -> None:
        parts, flight.parts = flight.parts, []
        flight.open += len(parts)
        for part in parts:
            if not isinstance(part.error, Wait):
                self.failures[self._stage(part)] += 1
            self._one(flight, part)
        if flight.open == 0:
            self._end(flight)

    def _one(self, flight: Flight, part: Part) -> None:
        error, retries = part.error, self._retries(part)
        if isinstance(error, Wait):
            self.host.clock.call_later(error.after, lambda: self._again(flight, part))
        elif isinstance(error, Unavailable):
            self.outages.hold(error.dependency, error, lambda: self._again(flight, part))
        elif self._final(part, retries) or (self.host.stopping and flight.batch.waited):
            self.host.spawn(self._kept(flight, part))
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
            await self._kept(flight, part)
            return
        run = self.program.resume(found)
        values = [value for _, value in found.scope]
        origin, given = flight.payload, found.payload
        try:
            if given is found.origin:  # what failed may have changed it before
                origin = given = self.records.fresh(flight.batch, flight.index)
        except Exception as error:
            flight.parts.append(Part(found, error))
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
            self.outages.clear(part.error.dependency)
        flight.open -= 1
        self._decide(flight)

    async def _kept(self, flight: Flight, part: Part) -> None:
        """Give up on one place of the event: refuse it to a sender that waits, or keep a dead letter."""
        error = refused(part.error) if part.found.node == self._source else None
        failure = error or part.error
        if flight.batch.waited and not isinstance(failure, Reject):
            flight.batch.answer(flight.index, refusal(failure))
        else:
            await self.keep(flight, self._letter(flight, self._stage(part), failure, part))
        flight.open -= 1
        self._decide(flight)

    async def keep(self, flight: Flight, letter: Letter) -> None:
        """Write the dead letter; in an outage of the store, wait for it however long that takes."""
        stage = letter.stage
        made = letter
        letter = await self.outages.through(lambda: self.host.letters.write(made, flight.batch), "dead letters")
        flight.letters.append(letter.id)
        if self._given_up.may(f"failed in {stage} and are kept as dead letters"):
            self._given_up.tell("event %s is kept as dead letter %s: %s", letter.event, letter.id, letter.reason)
        if flight.batch.waited:
            flight.batch.answer(flight.index, Refusal(422, letter.reason, letter=letter.id))

    def _letter(self, flight: Flight, stage: str, error: BaseException, part: Part | None) -> Letter:
        batch, index = flight.batch, flight.index
        event = batch.event(index)
        data, encoding = as_text(event.data)
        identity = self.records.identify(batch, index, flight.payload)
        path = part.found.path if part is not None else ()
        return Letter(
            id=f"{identity}/{stage}{''.join(f'.{step}' for step in path)}~{crc32(data.encode()):08x}",
            event=identity,
            stage=stage,
            error=type(error).__name__,
            reason=reason_of(error),
            where=users_line(error),
            attempts=part.attempts if part is not None else 1,
            at=self.host.clock.time(),
            topic=event.topic,
            position=batch.position(index),
            key=event.key or text_of(flight.key),
            headers=dict(event.headers),
            data=data,
            encoding=encoding,
            source=event.source,
            type=event.type,
            time=event.time,
            informed=batch.waited,
            done=tuple(dict.fromkeys(message.id for _, message in flight.out or ())),
            ce_id=event.id,
            subject=event.subject,
            entry=self._entry,
            partition=str(batch.partition),
            captures=dict(batch.captures[index]) if batch.captures is not None else {},
            # Records in an envelope are described with it, and processed without.
            wrapped=batch.values[index] != event.data and isinstance(batch.values[index], bytes | BadEvent),
            path=path,
            updates=dict(batch.updates.get(index, ())),
        )

    def undelivered(self, message: Message, to: str, error: BaseException) -> None:
        """The sink `to` refused this action for good."""
        self.failures[message.stage] += 1
        self.host.spawn(self._undelivered(message, to, error))

    async def _undelivered(self, message: Message, to: str, error: BaseException) -> None:
        flight = Flight(self, message.batch, message.index, message.key, None, None)
        letter = self._letter(flight, message.stage, error, None)
        event, path = parts_of(message)
        id = f"{message.id}@{to}~{letter.id.rpartition('~')[2]}"
        await self.keep(flight, replace(letter, id=id, event=event, path=path, action=message.id, to=to))
        message.batch.settle(message.index)

    def _end(self, flight: Flight) -> None:
        self.flights -= 1
        self.finish(flight)

    @property
    def _entry(self) -> str:
        assert self.program is not None
        return self.program.source.stage

    @property
    def _source(self) -> int:
        assert self.program is not None
        return self.program.source.id

    def _stage(self, part: Part) -> str:
        node = self.host.graph.node(part.found.node)
        return node.stage or f"{node.kind} {node.id}"
