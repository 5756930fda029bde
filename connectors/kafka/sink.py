"""Kafka as a sink: messages go to the process's producer, outcomes come back in lists."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from penstock.connectors.event import Message
from penstock.connectors.kafka.client import Outlet, Producer
from penstock.connectors.kafka.oversized import Halving
from penstock.connectors.kafka.transactions import Transactions
from penstock.connectors.protocol import Settled
from penstock.errors import PenstockError

LEAVING = 10.0
"""Seconds that leaving waits for what is not delivered yet."""


class KafkaSink:
    """One endpoint's share of the producer.

    Everything delivered since the last report is settled in one call, what failed message by message.
    """

    ordered = True

    def __init__(self, name: str, producer: Producer) -> None:
        self.name = name
        self.producer = producer
        self._outlet = Outlet(self._report)
        self._halving = Halving(lambda messages: producer.send(messages, self._outlet))
        self._settled: Settled | None = None
        self._outstanding = 0
        self._idle: asyncio.Future[None] | None = None

    @property
    def problem(self) -> str | None:
        return self.producer.problem

    async def open(self, settled: Settled) -> None:
        await self.producer.open()
        self._settled = settled

    def send(self, messages: Sequence[Message]) -> None:
        if messages:
            self._outstanding += len(messages)
            self._halving.send(messages)

    def _report(self, delivered: Sequence[Message], failed: Sequence[tuple[Message, PenstockError]]) -> None:
        failed = self._halving.came_out(delivered, failed)
        self._outstanding -= len(delivered) + len(failed)
        if self._settled is not None:
            if delivered:
                self._settled(delivered, None)
            for message, error in failed:
                self._settled((message,), error)
        if self._outstanding == 0 and self._idle is not None:
            self._idle.set_result(None)
            self._idle = None

    async def flush(self) -> None:
        while self._outstanding:
            if self._idle is None:
                self._idle = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._idle)

    async def close(self) -> None:
        if self._settled is None:
            return
        try:
            async with asyncio.timeout(LEAVING):
                await self.flush()
        except TimeoutError:
            await self.producer.give_up()
        self._settled = None


class TransactionalSink(KafkaSink):
    """One endpoint's share of the transactions: what it takes settles when it is committed."""

    def __init__(self, name: str, transactions: Transactions) -> None:
        super().__init__(name, transactions)
        self.transactions = transactions

    async def flush(self) -> None:
        self.transactions.hurry()
        await super().flush()
