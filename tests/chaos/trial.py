"""One proof: events come in through every door while something is broken, and at the end the ledger is right."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from tests.application.foreign import make_topic
from tests.application.process import Process, command, until
from tests.chaos.ledger import Ledger
from tests.chaos.senders import PARTITIONS, Sender, ThroughHttp, ThroughKafka, ThroughMqtt, ThroughRedis
from tests.chaos.tally import Step

PATIENCE = 180.0
"""Seconds that whatever must come is waited for. Only a failure takes so long, on however slow a machine."""


class Trial:
    """The program at work, and senders at its doors. A context manager; `finish` has the last word.

    `kafka`, `mqtt` and `redis` are where the senders find the servers, which the program may find elsewhere. `doors`
    names those that are used, by default all.
    """

    def __init__(
        self,
        program: Process,
        topics: str,
        seed: int,
        *,
        kafka: str,
        mqtt: str,
        redis: str,
        doors: Sequence[str] = (),
    ) -> None:
        self.program = program
        self.ledger = Ledger(kafka, topics, f"seed {seed}, log {program.log}")
        every: list[Sender] = [
            ThroughKafka(kafka, f"{topics}in"),
            ThroughMqtt(mqtt, f"{topics}in/all"),
            ThroughHttp(program.http),
            ThroughRedis(redis, f"{topics}in"),
        ]
        self.senders = [sender for sender in every if not doors or sender.door in doors]
        for topic, partitions in (("in", PARTITIONS), ("counted", 1), ("sold", 1)):
            make_topic(kafka, f"{topics}{topic}", partitions=partitions)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.program.start(wait=False)
        self.program.ready(patience=PATIENCE)
        for sender in self.senders:
            self._stack.enter_context(sender)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def begin(self, sender: Sender) -> None:
        """One more sender."""
        self._stack.enter_context(sender)
        self.senders.append(sender)

    @property
    def sent(self) -> list[Step]:
        """Everything that the other side has confirmed to have."""
        return [step for sender in self.senders for step in sender.sent]

    def going(self) -> bool:
        """True; raises what a sender has failed with."""
        for sender in self.senders:
            if sender.failure is not None:
                raise sender.failure
        return True

    def allow(self, count: int) -> None:
        """Let each sender send so many more before it rests."""
        for sender in self.senders:
            sender.enough = len(sender.sent) + count

    def come_further(self, count: int = 100) -> None:
        """Wait until so many more events were sent."""
        enough = len(self.sent) + count
        until(
            lambda: self.going() and len(self.sent) >= enough,
            lambda: f"events are taken: {self.ledger.what}\n{self.program.tail()}",
            patience=PATIENCE,
        )

    def finish(
        self, *, ordered: Sequence[str] = ("kafka", "again", "redis", "http", "mqtt"), forgot: bool = False
    ) -> int:
        """Stop sending, wait for the rest, and check everything; how many actions were repeated."""
        for sender in self.senders:
            sender.stop()
        sent = self.sent
        missing = len(sent) * 3 + 1
        # However long it takes: what must not happen is that nothing more comes.
        while missing:
            before = missing
            until(
                lambda: len(self.ledger.missing(sent)) < before,  # noqa: B023
                lambda: f"missing {self.missing()} of {len(sent)}: {self.ledger.what}\n{self.program.tail()}",
                patience=PATIENCE,
            )
            missing = len(self.ledger.missing(sent))
        repeated = self.ledger.check(sent, ordered=ordered, forgot=forgot)
        self.program.ready(patience=PATIENCE)
        pipeline = f"{self.program.variables['PENSTOCK_NAMESPACE']}.tally"
        asked = ("dead", "list", "--no-group", "--pipeline", pipeline)
        letters = command(*asked, variables=self.program.variables, folder=self.program.folder)
        assert not letters.splitlines()[1:], f"{letters}{self.program.tail()}"
        assert self.program.stop() == 0, self.program.tail()
        return repeated

    def missing(self) -> list[str]:
        """The first events of which nothing has come."""
        return self.ledger.missing(self.sent)[:20]
