"""What a transaction says of the members of its group whose records it takes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from types import SimpleNamespace
from typing import Any

from penstock.connectors import Message
from penstock.connectors.batch import Partition
from penstock.connectors.kafka.batch import Commits, Progress
from penstock.connectors.kafka.client import Outlet
from penstock.connectors.kafka.python_batch import PythonBatch
from penstock.connectors.kafka.transactions import Transactions
from penstock.connectors.kafka.transactor import Offsets
from tests.connectors.rig import Ledger, until


class Member:
    """A source as transactions know it, in the place of its own committer."""

    topic = "t"

    def __init__(self) -> None:
        self.generation = 1
        self.committer = self
        self.rewound: list[str] = []

    def group(self) -> int:
        return self.generation

    async def hold(self) -> None:
        """Nothing else commits."""

    async def keep(self, commits: Commits) -> None:
        """There is no store."""

    def release(self, commits: Commits, error: Exception | None) -> None:
        """Nobody waits."""

    def rewind(self, why: str) -> None:
        self.rewound.append(why)


class Rebalancing:
    """A producer that takes its time: the group is another by then, and brokers refuse who was in the last one."""

    def __init__(self, member: Member) -> None:
        self.member = member

    def open(self) -> None:
        """There is nothing to open."""

    def transact(self, messages: Sequence[Message], alone: Collection[str], offsets: Sequence[Offsets]) -> None:
        self.member.generation += 1
        if any(each.group != self.member.generation for each in offsets):
            raise RuntimeError("ILLEGAL_GENERATION")

    def close(self) -> None:
        """There is nothing to close."""


async def test_what_was_decided_before_a_rebalance_is_committed_as_who_we_were_then() -> None:
    """The partition may be another's by now, who has begun at the commit before: our records would be done twice."""
    member, ledger = Member(), Ledger()
    progress = Progress(Partition("t", 0), member)
    record = SimpleNamespace(offset=7, value=b"", key=None, headers=(), timestamp=0)
    batch = PythonBatch(progress.partition, [record], [b""], [None], None, 0.0, end=8)
    progress.add(batch)
    transactions = Transactions(lambda anew: Rebalancing(member), 0.0)
    await transactions.open()

    def report(delivered: Sequence[Message], failed: Sequence[tuple[Message, Any]]) -> None:
        ledger.settled(delivered, None)

    transactions.send([Message("out", b"1", id="1", batch=batch)], Outlet(report))
    transactions.hurry()
    await until(lambda: bool(ledger.outcomes))
    assert member.rewound, "the transaction was refused"
    await transactions.close()
