"""Actions and offsets in one transaction: a reader that asks for committed records alone sees each action once.

Actions are withheld until a transaction is due. It then takes all of them, says in the same breath which records are
finished by them (with the note of those above the prefix), and lasts no longer than that takes. When it fails, nothing
of it was: its producer is made anew under its name, which ends what the old one left open, and the sources go back to
the last commit.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from penstock.connectors.event import Message
from penstock.connectors.kafka.batch import Commits, Progress
from penstock.connectors.kafka.client import CONNECT, Broken, Outlet
from penstock.connectors.kafka.thread import Thread
from penstock.connectors.kafka.transactor import Offsets, Refused, Transactor
from penstock.errors import ConfigError, PenstockError, Unavailable, Undeliverable

if TYPE_CHECKING:
    from penstock.connectors.kafka.source import KafkaSource

log = logging.getLogger("penstock.kafka")

MANY = 8_000
"""Actions withheld at which a transaction does not wait for its time."""

REFUSED = 10_000
"""Actions that no broker takes, remembered at most."""

SILENCE = 3.0
"""Seconds that a transaction takes from which on there is a problem."""

RETRY = 1.0
"""Seconds between attempts to make a producer."""


class Transactions:
    """The transactions of a process on one cluster, in the place of a producer.

    `make` is told whether the name of the last producer is another's by now.

    A record's actions are committed together or wait together, so that a crash finds it finished or not begun.
    """

    def __init__(self, make: Callable[[bool], Transactor], interval: float) -> None:
        self.make = make
        self.interval = interval
        self.problem: str | None = None
        self._transactor: Transactor | None = None
        self._thread = Thread("penstock-kafka-transactions")
        self._withheld: list[tuple[Message, Outlet]] = []
        self._refused: dict[str, PenstockError] = {}
        self._suspects: frozenset[str] = frozenset()
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._began = 0.0
        self._fenced = False

    async def open(self) -> None:
        async with self._opening:
            if self._task is not None:
                return
            await self._renew()
            self._task = asyncio.ensure_future(self._run())
            self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.problem = f"kafka: no more transactions: {type(error).__name__}: {error}"
            log.error(self.problem, exc_info=error)

    async def _renew(self) -> None:
        if self._transactor is not None:
            await self._thread.call(self._transactor.close)
        # Under the same name, unless that is another's by now: otherwise what is open would stay so until it times out.
        self._transactor = transactor = self.make(self._fenced)
        self._fenced = False
        await self._thread.call(transactor.open)

    def send(self, messages: Sequence[Message], outlet: Outlet) -> None:
        loop = asyncio.get_running_loop()
        for message in messages:
            reason = self._refused.get(message.id) if self._refused else None
            if reason is not None:
                outlet.failed.append((message, reason))
                loop.call_soon(outlet.flush)
            else:
                self._withheld.append((message, outlet))
        if len(self._withheld) >= MANY:
            self.hurry()

    def hurry(self) -> None:
        """Have the next transaction begin at once."""
        self._due.set()

    # -- transactions --------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(max(0.0, self._began + self.interval - time.monotonic())):
                    await self._due.wait()
            except TimeoutError:
                pass
            self._due.clear()
            self._began = time.monotonic()
            taken = list(self._ready())
            if taken:
                del self._withheld[: len(taken)]
                await self._commit(taken)

    def _ready(self) -> Iterator[tuple[Message, Outlet]]:
        """The oldest that are withheld, up to the first whose record waits for something else as well."""
        counts = Counter((id(message.batch), message.index) for message, _ in self._withheld)
        for message, outlet in self._withheld:
            batch = message.batch
            if batch is not None and counts[id(batch), message.index] < batch.owes(message.index):
                return
            yield message, outlet

    async def _commit(self, taken: Sequence[tuple[Message, Outlet]]) -> None:
        """One transaction. Whatever becomes of it, its messages settle: of a failed one nothing is left to do."""
        members = {progress.member for message, _ in taken if (progress := _progress(message)) is not None}
        for member in members:
            await member.committer.hold()
        error: Exception | None = None
        groups: dict[KafkaSource, Any] = {}
        try:
            # As the group knows them now: after a rebalance the broker must refuse what was decided before it.
            for member in members:
                groups[member] = await self._thread.call(member.group)
        except Broken as broken:
            error = broken
        # Partitions may have left meanwhile, and their records run elsewhere.
        live = [one for one in taken if one[0].batch is None or not one[0].batch.void]
        commits = _commits([message for message, _ in live])
        if error is None:
            offsets = [Offsets(member.topic, found, groups[member]) for member, found in commits.items()]
            try:
                for member, found in commits.items():
                    await member.committer.keep(found)
            except Unavailable as unavailable:
                error = unavailable
            else:
                error = await self._transact([message for message, _ in live], offsets)
        for member in members:
            member.committer.release(commits.get(member, {}) if error is None else {}, error)
            if error is not None:
                member.rewind("a transaction failed: going back to the last commit")
        if error is not None:
            # Of partitions that are on their way to others as well, whose last commit waits for what now settles.
            for message, _ in taken:
                if (progress := _progress(message)) is not None:
                    progress.forget()
        outlets: dict[Outlet, None] = {}
        for message, outlet in taken:
            outlets[outlet] = None
            if error is not None and _progress(message) is None:
                outlet.failed.append((message, Unavailable("kafka", str(error))))
            else:
                outlet.delivered.append(message)
        for outlet in outlets:
            outlet.flush()

    async def _transact(self, messages: Sequence[Message], offsets: Sequence[Offsets]) -> Exception | None:
        assert self._transactor is not None
        watch = asyncio.get_running_loop().call_later(SILENCE, self._slow)
        try:
            await self._thread.call(partial(self._transactor.transact, messages, self._suspects, offsets))
        except Exception as error:
            log.warning(
                "a transaction of %d actions was given up, and its records come again: %s", len(messages), error
            )
            # Taking the name back would fence the other, which would take it back.
            self._fenced = _fenced(error)
            if isinstance(error, Refused):
                self._remember(error)
            await self._recover()
            return error
        finally:
            watch.cancel()
        self.problem = None
        if self._suspects:
            self._suspects -= {message.id for message in messages}
        return None

    def _remember(self, refused: Refused) -> None:
        """When the records come again, their messages are sent one by one, until the one that is refused is known."""
        if len(refused.messages) > 1:
            self._suspects |= {message.id for message in refused.messages}
            return
        self._refused[refused.messages[0].id] = Undeliverable(str(refused))
        self._suspects = frozenset()
        while len(self._refused) > REFUSED:
            del self._refused[next(iter(self._refused))]

    async def _recover(self) -> None:
        """Make the producer anew, as often as it takes."""
        while True:
            try:
                await self._renew()
                break
            except (Unavailable, ConfigError) as error:
                self.problem = f"kafka: {error}"
                await asyncio.sleep(RETRY)
        self.problem = None

    def _slow(self) -> None:
        self.problem = f"kafka: a transaction takes longer than {SILENCE:.0f} s"

    # -- leaving -------------------------------------------------------------------------------------------------

    async def give_up(self) -> None:
        withheld, self._withheld = self._withheld, []
        error = Unavailable("kafka", self.problem or "the producer is leaving")
        for message, outlet in withheld:
            outlet.failed.append((message, error))
        for outlet in {outlet for _, outlet in withheld}:
            outlet.flush()

    async def close(self) -> None:
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None
        await self.give_up()
        if self._transactor is not None:
            try:
                async with asyncio.timeout(CONNECT):
                    await self._thread.call(self._transactor.close)
            except TimeoutError:
                log.warning("kafka: a transaction was left open: its records come again")
        self._thread.end()


def _fenced(error: Exception) -> bool:
    """Whether another producer has the name. A member whose name in the group is another's keeps that of its producer:
    its next transaction ends the one that it has left open, for which readers would wait.

    >>> _fenced(Exception("KafkaError{code=_FENCED,val=-144}")), _fenced(Exception("[Error 90] ProducerFencedError"))
    (True, True)
    >>> _fenced(Exception("KafkaError{code=FENCED_INSTANCE_ID,val=82,str='Static consumer fenced by other'}"))
    False
    >>> _fenced(Exception("[Error 82] FencedInstanceIdError"))
    False
    """
    said = f"{type(error).__name__} {error}".lower().replace("_", "")
    return "fenced" in said and "fencedinstanceid" not in said


def _progress(message: Message) -> Progress | None:
    """The account of the partition that a message's record came from; None for a dead letter that is replayed."""
    found: Progress | None = getattr(message.batch, "progress", None)
    return found


def _commits(messages: Sequence[Message]) -> dict[KafkaSource, Commits]:
    """By member, what there will be to commit once the records of these messages are finished."""
    records = {(id(message.batch), message.index): message for message in messages if _progress(message) is not None}
    found: dict[KafkaSource, Commits] = {}
    for message in records.values():
        message.batch.owed[message.index] = 0
    try:
        for progress in {message.batch.progress for message in records.values()}:
            commit = progress.ahead()
            if commit is not None:
                found.setdefault(progress.member, {})[progress.partition.number] = commit
    finally:
        for message in records.values():
            message.batch.owed[message.index] = 1
    return found
