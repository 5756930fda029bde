"""Transactions through kafka-python."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from penstock.connectors.event import Message
from penstock.connectors.kafka.client import CONNECT, Broken
from penstock.connectors.kafka.python_client import connected, leave, library, refusal
from penstock.connectors.kafka.python_partitioner import partitioner
from penstock.connectors.kafka.python_producer import meaning
from penstock.connectors.kafka.record import headers, stamp
from penstock.connectors.kafka.transactor import Offsets, Refused
from penstock.errors import Undeliverable

if TYPE_CHECKING:
    from penstock.connectors.settings import KafkaSettings


class PythonTransactor:
    """A transactional producer on kafka-python."""

    def __init__(self, settings: KafkaSettings, client_id: str, name: str) -> None:
        self.settings = settings
        self.client_id = client_id
        self.name = name
        self.lasting = settings.transaction_timeout
        self._producer: Any = None

    def open(self) -> None:
        options = {
            "transactional_id": self.name,
            "transaction_timeout_ms": round(self.lasting * 1000),
            "compression_type": None if self.settings.compression == "none" else self.settings.compression,
            "linger_ms": round(self.settings.linger * 1000),
            "batch_size": 262_144,
            "delivery_timeout_ms": round(self.lasting * 500),
            "request_timeout_ms": round(self.lasting * 250),
            "max_block_ms": round(CONNECT * 1000),
            "partitioner": partitioner(),
        }
        errors = library("kafka.errors")
        self._producer = connected(self.settings, self.client_id, "KafkaProducer", options)
        try:
            self._producer.init_transactions()
        except errors.KafkaError as error:
            self.close()
            raise refusal(self.settings, error) from None

    def transact(self, messages: Sequence[Message], alone: Collection[str], offsets: Sequence[Offsets]) -> None:
        producer = self._producer
        if producer is None:
            raise Broken("the producer is closed")
        producer.begin_transaction()
        now = time.time()
        sent: list[tuple[Message, Any]] = []
        for message in messages:
            if message.id in alone:
                self._flush(sent)
            self._produce(producer, message, now, sent)
            if message.id in alone:
                self._flush(sent)
        self._flush(sent)
        for each in offsets:
            self._offsets(producer, each)
        self._commit(producer)

    def _offsets(self, producer: Any, offsets: Offsets) -> None:
        place, made = library("kafka").TopicPartition, library("kafka").OffsetAndMetadata
        places = {
            place(offsets.topic, number): made(offset, text, -1) for number, (offset, text) in offsets.commits.items()
        }
        group = offsets.group
        self._answered(producer, lambda manager: manager.send_offsets_to_transaction(places, group))

    def _commit(self, producer: Any) -> None:
        self._answered(producer, lambda manager: manager.begin_commit())

    def _answered(self, producer: Any, ask: Callable[[Any], Any]) -> None:
        """Ask, and wait for the answer no longer than the broker keeps the transaction: the client's own calls wait
        for ever. Raises `Broken` where it does not come."""
        result = ask(producer._transaction_manager)
        producer._sender.wakeup()
        if not result.wait(round(self.lasting * 1000)):
            raise Broken("the broker does not answer, and ends the transaction by itself")

    def _flush(self, sent: list[tuple[Message, Any]]) -> None:
        # Not the client's own `flush`, which raises where it has split a batch.
        deadline = time.monotonic() + self.lasting / 2
        failed: list[tuple[Message, Exception]] = []
        for message, future in sent:
            try:
                future.get(timeout=max(0.0, deadline - time.monotonic()))
            except library("kafka.errors").KafkaTimeoutError:
                raise Broken("the broker does not take what the transaction sends") from None
            except Exception as error:
                failed.append((message, error))
        if failed:
            # Of a batch that was refused, all records fail for the same reason; later ones for the transaction's.
            first = failed[0][1]
            self._refuse([message for message, other in failed if type(other) is type(first)], first)
        sent.clear()

    def _produce(self, producer: Any, message: Message, now: float, sent: list[tuple[Message, Any]]) -> None:
        try:
            future = producer.send(
                message.to, message.value, message.key, headers=headers(message), timestamp_ms=stamp(message, now)
            )
        except Exception as error:
            # It refuses what no broker would take, and all that follows a refusal: then that one tells why.
            self._flush(sent)
            self._refuse([message], error)
        sent.append((message, future))

    def _refuse(self, messages: Sequence[Message], error: Exception) -> NoReturn:
        reason = meaning(messages[0], error)
        if isinstance(reason, Undeliverable):
            raise Refused(messages, reason) from None
        raise Broken(str(reason)) from None

    def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            leave(producer, 0)
