"""Giving an event up: told to the sender that waits for it, or written down as a dead letter."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple, Protocol
from zlib import crc32

from msgspec.structs import replace

from penstock.connectors import Batch, Message, Refusal
from penstock.errors import BadEvent
from penstock.pipeline.clock import Clock
from penstock.pipeline.engine.flight import Flight
from penstock.pipeline.engine.outages import Outages
from penstock.pipeline.engine.records import Records
from penstock.pipeline.engine.verdict import reason_of, refusal
from penstock.pipeline.letters.letters import Letter, Letters, as_text, users_line
from penstock.pipeline.lines import Lines
from penstock.stages.act import parts_of
from penstock.stages.outcome import Reject
from penstock.stages.payload import text_of


class Host(Protocol):
    """What a writer of letters needs of the engine."""

    clock: Clock
    letters: Letters


class Cause(NamedTuple):
    """Why an event is given up, at which of a stage's children of it. `where` is the user's line that raised."""

    stage: str
    error: BaseException
    where: str = ""
    attempts: int = 1
    path: tuple[int, ...] = ()


class LetterWriter:
    """Writes the dead letters of one source's events."""

    def __init__(self, host: Host, outages: Outages, records: Records) -> None:
        self.host = host
        self.outages = outages
        self.records = records
        self._told = Lines(host.clock, logging.WARNING)

    async def give_up(self, flight: Flight, cause: Cause) -> None:
        """Refuse an event to its sender, where that waits and may mend it, else keep a dead letter of it."""
        if flight.batch.waited and not isinstance(cause.error, Reject):
            flight.batch.answer(flight.index, refusal(cause.error))
        else:
            await self._keep(flight, self._letter(flight, cause))

    async def undelivered(self, message: Message, to: str, error: BaseException) -> None:
        """Keep an action that the sink `to` refused for good; its event is finished then."""
        flight = Flight(message.batch, message.index, message.key)
        letter = self._letter(flight, Cause(message.stage, error, users_line(error)))
        event, path = parts_of(message)
        id = f"{message.id}@{to}~{letter.id.rpartition('~')[2]}"
        await self._keep(flight, replace(letter, id=id, event=event, path=path, action=message.id, to=to))
        message.batch.settle(message.index)

    def whole(self, batch: Batch, index: int, key: Any) -> Letter:
        """A record as it came, with everything that is needed to process it later."""
        return self._letter(Flight(batch, index, key), Cause("", LookupError()))

    async def _keep(self, flight: Flight, letter: Letter) -> None:
        """Write the dead letter; in an outage of the store, wait for it however long that takes."""
        kept = await self.outages.through(lambda: self.host.letters.write(letter, flight.batch), "dead letters")
        if self._told.may(f"failed in {letter.stage} and are kept as dead letters"):
            self._told.tell("event %s is kept as dead letter %s: %s", kept.event, kept.id, kept.reason)
        if flight.batch.waited:
            flight.batch.answer(flight.index, Refusal(422, kept.reason, letter=kept.id))

    def _letter(self, flight: Flight, cause: Cause) -> Letter:
        batch, index = flight.batch, flight.index
        stage, error, where, attempts, path = cause
        event = batch.event(index)
        data, encoding = as_text(event.data)
        identity = self.records.identify(batch, index, flight.payload)
        return Letter(
            id=f"{identity}/{stage}{''.join(f'.{step}' for step in path)}~{crc32(data.encode()):08x}",
            event=identity,
            stage=stage,
            error=type(error).__name__,
            reason=reason_of(error),
            where=where,
            attempts=attempts,
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
            entry=self.records.source.stage,
            partition=str(batch.partition),
            captures=dict(batch.captures[index]) if batch.captures is not None else {},
            # Records in an envelope are described with it, and processed without.
            wrapped=batch.values[index] != event.data and isinstance(batch.values[index], bytes | BadEvent),
            path=path,
            updates=dict(batch.updates.get(index, ())),
        )
