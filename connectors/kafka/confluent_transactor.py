"""Transactions through confluent-kafka."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from penstock.connectors.event import Message
from penstock.connectors.kafka.client import CONNECT, Broken, legal
from penstock.connectors.kafka.confluent_client import connection, final_errors, oversized
from penstock.connectors.kafka.oversized import BatchSize
from penstock.connectors.kafka.record import headers, stamp
from penstock.connectors.kafka.transactor import Offsets, Refused
from penstock.errors import ConfigError, Unavailable, Undeliverable

if TYPE_CHECKING:
    import confluent_kafka as ck

    from penstock.connectors.settings import KafkaSettings

log = logging.getLogger("penstock.kafka")


LOOK = 0.2
"""Seconds between looks whether something has failed, while the rest is waited for."""


class ConfluentTransactor:
    """A transactional producer on librdkafka, which has the brokers refuse whole batches of what a topic does not take.

    `size` outlives it: a batch that a topic refused would be put together again.
    """

    def __init__(self, settings: KafkaSettings, client_id: str, name: str, size: BatchSize) -> None:
        self.settings = settings
        self.client_id = client_id
        self.name = name
        self.size = size
        self.lasting = settings.transaction_timeout
        self._producer: ck.Producer | None = None
        self._failed: list[tuple[Message, ck.KafkaError]] = []
        self._refused = ""

    def open(self) -> None:
        import confluent_kafka as ck

        self._final = final_errors()
        self._producer = producer = ck.Producer(
            {
                **connection(self.settings),
                "client.id": self.client_id,
                "transactional.id": self.name,
                "transaction.timeout.ms": round(self.lasting * 1000),
                "compression.type": self.settings.compression,
                "linger.ms": self.settings.linger * 1000,
                "batch.size": self.size.bytes,
                "partitioner": "murmur2_random",
                "error_cb": self._trouble,
            }
        )
        try:
            self._patiently(lambda left: producer.init_transactions(left), CONNECT)
        except ck.KafkaException as error:
            producer.poll(0)
            if self._refused:
                raise ConfigError(f"Kafka at {self.settings.address}: {self._refused}") from None
            raise Unavailable("kafka", error.args[0].str()) from None

    def _trouble(self, error: ck.KafkaError) -> None:
        import confluent_kafka as ck

        if error.code() == ck.KafkaError._AUTHENTICATION:
            self._refused = error.str()

    def transact(self, messages: Sequence[Message], alone: Collection[str], offsets: Sequence[Offsets]) -> None:
        try:
            self._transact(messages, alone, offsets)
        except SystemError as error:
            # The client raises what it fails of for good and calls us back all the same, which makes this of it.
            raise Broken(str(error.__cause__ or error.__context__ or error)) from None

    def _transact(self, messages: Sequence[Message], alone: Collection[str], offsets: Sequence[Offsets]) -> None:

        producer = self._producer
        if producer is None:
            raise Broken("the producer is closed")
        self._failed.clear()
        producer.begin_transaction()
        now = time.time()
        for message in messages:
            if message.id in alone:
                self._flush(producer)
            self._produce(producer, message, now)
            if message.id in alone:
                self._flush(producer)
        self._flush(producer)
        for each in offsets:
            self._offsets(producer, each)
        self._commit(producer)

    def _offsets(self, producer: ck.Producer, offsets: Offsets) -> None:
        import confluent_kafka as ck

        places = [ck.TopicPartition(offsets.topic, number, *commit) for number, commit in offsets.commits.items()]
        group = offsets.group
        self._patiently(lambda left: producer.send_offsets_to_transaction(places, group, left), self.lasting / 4)

    def _commit(self, producer: ck.Producer) -> None:
        self._patiently(lambda left: producer.commit_transaction(left), self.lasting / 4)

    def _flush(self, producer: ck.Producer) -> None:
        deadline = time.monotonic() + self.lasting / 2
        while producer.flush(LOOK):
            if self._failed:
                # The transaction is lost; what is not on its way would wait for it for ever.
                producer.purge(in_flight=False)
            if time.monotonic() > deadline:
                raise Broken("the broker does not take what the transaction sends")
        if self._failed:
            # Of a batch that was refused, all records fail for the same reason; others for the transaction's.
            error = next((error for _, error in self._failed if error.code() in self._final), self._failed[0][1])
            self._refuse([message for message, other in self._failed if other.code() == error.code()], error)

    def _produce(self, producer: ck.Producer, message: Message, now: float) -> None:
        import confluent_kafka as ck

        while True:
            try:
                producer.produce(
                    message.to,
                    message.value,
                    message.key,
                    on_delivery=partial(self._delivered, message),
                    timestamp=stamp(message, now),
                    headers=headers(message),
                )
            except BufferError:
                producer.poll(0.05)
            except ck.KafkaException as error:
                # It refuses what no broker would take, and all that follows a refusal: then that one tells why.
                self._flush(producer)
                self._refuse([message], error.args[0])
            else:
                return

    def _delivered(self, message: Message, error: ck.KafkaError | None, _: Any) -> None:
        if error is not None:
            self._failed.append((message, error))

    def _refuse(self, messages: Sequence[Message], error: ck.KafkaError) -> NoReturn:
        to = messages[0].to
        if len(messages) > 1 and error.code() in oversized():
            self.size.shrink()
            log.warning("the topic %r takes no batch as large: they have %d bytes from now on", to, self.size.bytes)
        if error.code() in self._final or not legal(to):
            raise Refused(messages, Undeliverable(f"Kafka refused the action for {to!r}: {error.str()}"))
        raise Broken(f"topic {to!r}: {error.str()}")

    def _patiently(self, step: Callable[[float], object], seconds: float) -> None:
        """Take a step again while the client says that this may help."""
        import confluent_kafka as ck

        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            try:
                step(max(left, 0.1))
            except ck.KafkaException as error:
                if left < 0 or not error.args[0].retriable():
                    raise
                time.sleep(0.05)
            else:
                return

    def close(self) -> None:
        # Not the client's own `close`, which would wait for a broker: whoever has the name next ends what is open.
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()
