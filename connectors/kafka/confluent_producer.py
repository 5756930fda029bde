"""Producing through confluent-kafka."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from penstock.connectors.event import Message
from penstock.connectors.kafka.client import CONNECT, Outlet, legal
from penstock.connectors.kafka.confluent_client import PROBE, connection, final_errors
from penstock.connectors.kafka.oversized import Oversized
from penstock.connectors.kafka.record import headers, stamp
from penstock.errors import ConfigError, PenstockError, Unavailable, Undeliverable

if TYPE_CHECKING:
    import confluent_kafka as ck

    from penstock.connectors.settings import KafkaSettings

log = logging.getLogger("penstock.kafka")

BUSY = 0.001
"""Seconds between looks for deliveries while some are due."""

QUIET = 0.5
"""Seconds between looks when none are."""

MANY = 1000
"""Messages that wait for no more to go along."""

TOGETHER = 0.0012
"""Seconds that the client itself waits, for the rest of what is handed over to it. Its thread sleeps for whole
milliseconds and turns round without sleep for what is left of such a time, once for each partition that is written to:
with little left, and seldom, it leaves the processor to others."""


class ConfluentProducer:
    """An idempotent producer on librdkafka, whose own threads send.

    Deliveries are asked for by the loop. A thread that waits for them would have to win the interpreter lock from a
    busy loop anew for each message.

    What comes after a pause is handed over at once. What comes within `linger` of that goes together after it: under
    load there are few requests, each of many messages, for all partitions at the same time.
    """

    def __init__(self, settings: KafkaSettings, client_id: str) -> None:
        self.settings = settings
        self.client_id = client_id
        self.problem: str | None = None
        self._producer: ck.Producer | None = None
        self._opening = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._probing: asyncio.Future[Any] | None = None
        self._probed = 0.0
        self._held: deque[tuple[Sequence[Message], Outlet]] = deque()
        self._waiting = 0
        self._due = 0.0
        self._outlets: set[Outlet] = set()
        self._outstanding = 0
        self._broken = ""
        self._refused = ""
        self._final: frozenset[int] = frozenset()
        self._sizes: tuple[int, ...] = ()

    async def open(self) -> None:
        async with self._opening:
            if self._producer is not None:
                return
            import confluent_kafka as ck

            self._loop = asyncio.get_running_loop()
            self._final = final_errors()
            self._sizes = (ck.KafkaError.MSG_SIZE_TOO_LARGE, ck.KafkaError.RECORD_LIST_TOO_LARGE)
            producer = self._make()
            try:
                await self._loop.run_in_executor(None, partial(producer.list_topics, timeout=CONNECT))
            except ck.KafkaException as error:
                producer.poll(0)
                if self._refused:
                    raise ConfigError(f"Kafka at {self.settings.address}: {self._refused}") from None
                raise Unavailable("kafka", error.args[0].str()) from None
            self.problem = None
            self._producer = producer
            self._turn()

    def _make(self) -> ck.Producer:
        import confluent_kafka as ck

        self._broken = self._refused = ""
        return ck.Producer(
            {
                **connection(self.settings),
                "client.id": self.client_id,
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": self.settings.compression,
                "linger.ms": TOGETHER * 1000,
                # What has no end in time cannot fail out of order.
                "message.timeout.ms": 0,
                # As Java and kafka-python place keys, so that all writers of a topic agree.
                "partitioner": "murmur2_random",
                "error_cb": self._trouble,
            }
        )

    # -- sending -------------------------------------------------------------------------------------------------

    def send(self, messages: Sequence[Message], outlet: Outlet) -> None:
        self._outlets.add(outlet)
        self._outstanding += len(messages)
        self._waiting += len(messages)
        self._held.append((messages, outlet))
        self._hand_over()
        self._hurry()

    def _hand_over(self) -> None:
        """Give the client what has gathered, as far as it has room."""
        if self._producer is None or not self._held:
            return
        now = time.monotonic()
        if now < self._due and self._waiting < MANY:
            return
        self._due = now + self.settings.linger
        while self._held:
            messages, outlet = self._held.popleft()
            taken = self._produce(self._producer, messages, outlet)
            self._waiting -= taken
            if taken < len(messages):
                self._held.appendleft((messages[taken:], outlet))
                return

    def _produce(self, producer: ck.Producer, messages: Sequence[Message], outlet: Outlet) -> int:
        """Have the client take messages; how many it took."""
        import confluent_kafka as ck

        produce, delivered, now = producer.produce, self._delivered, time.time()
        for number, message in enumerate(messages):
            try:
                produce(
                    message.to,
                    message.value,
                    message.key,
                    on_delivery=partial(delivered, outlet, message),
                    timestamp=stamp(message, now),
                    headers=headers(message),
                )
            except BufferError:
                return number
            except ck.KafkaException as error:
                self._fail(outlet, message, error.args[0])
        return len(messages)

    def _delivered(self, outlet: Outlet, message: Message, error: ck.KafkaError | None, _: Any) -> None:
        if error is None:
            self._outstanding -= 1
            outlet.delivered.append(message)
        else:
            self._fail(outlet, message, error)

    def _fail(self, outlet: Outlet, message: Message, error: ck.KafkaError) -> None:
        self._outstanding -= 1
        outlet.failed.append((message, self._meaning(message, error)))
        if error.fatal():
            self._broken = error.str()

    def _meaning(self, message: Message, error: ck.KafkaError) -> PenstockError:
        # A name that is no topic's is answered in several ways, some of which sound like an outage.
        if error.code() in self._final or not legal(message.to):
            kind = Oversized if error.code() in self._sizes else Undeliverable
            return kind(f"Kafka refused the action for {message.to!r}: {error.str()}")
        return Unavailable("kafka", f"topic {message.to!r}: {error.str()}")

    # -- the loop's turns ----------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Take in deliveries, report them, and hand over what has gathered."""
        self._timer = None
        if self._producer is None:
            return
        self._producer.poll(0)
        if self._broken:
            self._renew()
        self._hand_over()
        self._report()
        self._probe()
        if self._loop is not None:
            self._timer = self._loop.call_later(BUSY if self._outstanding else QUIET, self._turn)

    def _report(self) -> None:
        delivered = False
        for outlet in tuple(self._outlets):
            delivered = delivered or bool(outlet.delivered)
            outlet.flush()
        if delivered and self.problem is not None:
            self._well()

    def _hurry(self) -> None:
        """Look soon, now that something is due."""
        if self._loop is None or (self._timer is not None and self._timer.when() - self._loop.time() <= BUSY):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(BUSY, self._turn)

    # -- trouble -------------------------------------------------------------------------------------------------

    def _trouble(self, error: ck.KafkaError) -> None:
        import confluent_kafka as ck

        if error.code() == ck.KafkaError._AUTHENTICATION:
            self._refused = error.str()
        if error.fatal():
            self._broken = error.str()
        elif error.code() in (ck.KafkaError._TRANSPORT, ck.KafkaError._RESOLVE):
            return
        if self.problem is None:
            log.warning("kafka producer: %s", error.str())
        self.problem = f"kafka: {error.str()}"

    def _probe(self) -> None:
        """While there is trouble, see whether it is over."""
        if self.problem is None or self._loop is None or self._producer is None:
            return
        if self._probing is not None:
            if self._probing.done():
                if self._probing.exception() is None:
                    self._well()
                self._probing = None
        elif self._loop.time() - self._probed >= PROBE:
            self._probed = self._loop.time()
            self._probing = self._loop.run_in_executor(None, partial(self._producer.list_topics, timeout=PROBE))

    def _well(self) -> None:
        self.problem = None
        log.info("kafka producer: well again")

    def _renew(self) -> None:
        """The client has failed for good: have everything come out, to be sent again through a new one."""
        log.warning("kafka producer: made anew after %s", self._broken)
        broken = self._broken
        self._purge()
        self._drop(broken)
        self._producer = self._make()

    def _purge(self) -> None:
        if self._producer is None:
            return
        # What is in flight is older than what is queued, and comes out before it.
        self._producer.purge(in_queue=False, in_flight=True)
        self._producer.poll(0)
        self._producer.purge()
        self._producer.poll(0)

    def _drop(self, why: str) -> None:
        """Have what has gathered come out too, behind what the client had: it must not overtake that."""
        held, self._held, self._waiting = self._held, deque(), 0
        error = Unavailable("kafka", why)
        for messages, outlet in held:
            self._outstanding -= len(messages)
            outlet.failed.extend((message, error) for message in messages)

    async def give_up(self) -> None:
        self._purge()
        self._drop(self.problem or "the producer is leaving")
        self._report()

    async def close(self) -> None:
        if self._producer is None:
            return
        await self.give_up()
        if self._timer is not None:
            self._timer.cancel()
        if self._probing is not None:
            await asyncio.wait([self._probing])
        producer, self._producer = self._producer, None
        await asyncio.get_running_loop().run_in_executor(None, producer.close)
