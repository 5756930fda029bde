"""Producing through kafka-python."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from penstock.connectors.event import Message
from penstock.connectors.kafka.client import CONNECT, Outlet
from penstock.connectors.kafka.oversized import Oversized
from penstock.connectors.kafka.python_client import connected, leave, library
from penstock.connectors.kafka.python_partitioner import partitioner
from penstock.connectors.kafka.record import headers, stamp
from penstock.errors import PenstockError, Unavailable, Undeliverable

if TYPE_CHECKING:
    from penstock.connectors.settings import KafkaSettings

log = logging.getLogger("penstock.kafka")

WATCH = 1.0
"""Seconds between looks whether deliveries still come."""

SILENCE = 3.0
"""Seconds without a delivery, while some are due, after which there is a problem."""

NEVER = 2**31 - 1
"""Milliseconds after which the client gives a message up: an outage is waited out."""


class PythonProducer:
    """An idempotent producer on kafka-python.

    Its `send` may block for want of metadata, so a thread of our own calls it. Outcomes come on the client's thread
    and are reported by the loop, many in one call.
    """

    def __init__(self, settings: KafkaSettings, client_id: str) -> None:
        self.settings = settings
        self.client_id = client_id
        self.problem: str | None = None
        self._producer: Any = None
        self._opening = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._queue: queue.SimpleQueue[tuple[Sequence[Message], Outlet] | None] = queue.SimpleQueue()
        self._due: dict[Message, Outlet] = {}
        self._outcomes: deque[tuple[Message, Exception | None]] = deque()
        self._signalled = False
        self._leaving = threading.Event()
        self._broken = threading.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._heard = 0.0

    async def open(self) -> None:
        async with self._opening:
            if self._producer is not None:
                return
            self._loop = asyncio.get_running_loop()
            self._producer = await self._loop.run_in_executor(None, self._make)
            self.problem = None
            self._thread = threading.Thread(target=self._run, name="penstock-kafka-producer", daemon=True)
            self._thread.start()
            self._timer = self._loop.call_later(WATCH, self._watch)

    def _make(self) -> Any:
        options = {
            "enable_idempotence": True,
            "acks": "all",
            "compression_type": None if self.settings.compression == "none" else self.settings.compression,
            "linger_ms": round(self.settings.linger * 1000),
            "batch_size": 262_144,
            "delivery_timeout_ms": NEVER,
            "max_block_ms": 1000,
            "partitioner": partitioner(),
        }
        return connected(self.settings, self.client_id, "KafkaProducer", options)

    # -- on the loop ---------------------------------------------------------------------------------------------

    def send(self, messages: Sequence[Message], outlet: Outlet) -> None:
        if not self._due:
            self._heard = time.monotonic()
        self._due.update(dict.fromkeys(messages, outlet))
        self._queue.put((messages, outlet))

    def _collect(self) -> None:
        """Take the outcomes in and report them."""
        self._signalled = False
        outlets: dict[Outlet, None] = {}
        while self._outcomes:
            message, error = self._outcomes.popleft()
            outlet = self._due.pop(message, None)
            if outlet is None:
                continue
            outlets[outlet] = None
            if error is None:
                outlet.delivered.append(message)
            else:
                outlet.failed.append((message, meaning(message, error)))
        delivered = any(outlet.delivered for outlet in outlets)
        for outlet in outlets:
            outlet.flush()
        if delivered:
            self._heard = time.monotonic()
            if self.problem is not None:
                log.info("kafka producer: well again")
            self.problem = None

    def _watch(self) -> None:
        """The client keeps a broker's absence to itself: notice that what is due does not come."""
        if self._loop is None:
            return
        silence = time.monotonic() - self._heard
        if self._due and silence > SILENCE and self.problem is None:
            self.problem = f"kafka: {self.settings.address} has confirmed no delivery for {silence:.0f} s"
            log.warning(self.problem)
        self._timer = self._loop.call_later(WATCH, self._watch)

    async def give_up(self) -> None:
        self._collect()
        due, self._due = self._due, {}
        error = Unavailable("kafka", self.problem or "the producer is leaving")
        for message, outlet in due.items():
            outlet.failed.append((message, error))
        for outlet in dict.fromkeys(due.values()):
            outlet.flush()

    async def close(self) -> None:
        if self._producer is None or self._loop is None:
            return
        producer, self._producer = self._producer, None
        if self._timer is not None:
            self._timer.cancel()
        await self.give_up()
        self._leaving.set()
        self._queue.put(None)
        if self._thread is not None:
            await self._loop.run_in_executor(None, self._thread.join)
        await self._loop.run_in_executor(None, partial(leave, producer, 0 if self.problem else CONNECT))

    # -- the threads ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        producer, no_metadata = self._producer, library("kafka.errors").KafkaTimeoutError
        while (item := self._queue.get()) is not None:
            now = time.time()
            for message in item[0]:
                if self._broken.is_set():
                    producer = self._renew(producer)
                self._produce(producer, message, now, no_metadata)

    def _renew(self, producer: Any) -> Any:
        """The client takes one refused batch for its own end: go on with another, to which what failed comes again."""
        log.warning("kafka producer: made anew after a batch was refused for its size")
        try:
            producer.flush(CONNECT)  # so that all it had has come out, and nothing of it is sent twice
        except Exception as error:
            log.debug("kafka producer: %s", error)
        leave(producer, 0)
        self._broken.clear()
        while not self._leaving.is_set():
            try:
                self._producer = self._make()
                break
            except PenstockError as error:
                self.problem = f"kafka: {error}"
                self._leaving.wait(1.0)
        return self._producer

    def _failed(self, producer: Any, message: Message, error: Exception) -> None:
        if producer is self._producer and isinstance(error, library("kafka.errors").MessageSizeTooLargeError):
            self._broken.set()
        self._ended(message, error)

    def _produce(self, producer: Any, message: Message, now: float, no_metadata: type[Exception]) -> None:
        own = headers(message)
        while not self._leaving.is_set():
            try:
                future = producer.send(
                    message.to, message.value, message.key, headers=own, timestamp_ms=stamp(message, now)
                )
            except no_metadata:
                continue  # the broker or the topic is away, and order forbids to go on without it
            except Exception as error:  # the client refuses what no broker would take
                self._ended(message, error)
                return
            future.add_callback(lambda _: self._ended(message, None))
            future.add_errback(lambda error: self._failed(producer, message, error))
            return

    def _ended(self, message: Message, error: Exception | None) -> None:
        self._outcomes.append((message, error))
        if not self._signalled and self._loop is not None:
            self._signalled = True
            try:
                self._loop.call_soon_threadsafe(self._collect)
            except RuntimeError:
                return  # the loop has gone


def meaning(message: Message, error: Exception) -> PenstockError:
    """What an exception of the client says of a message: whether it will ever be taken."""
    errors = library("kafka.errors")
    final = (
        errors.InvalidTopicError,
        errors.CorruptRecordError,
        errors.InvalidRecordError,
        errors.InvalidTimestampError,
        ValueError,
        TypeError,
    )
    if isinstance(error, errors.MessageSizeTooLargeError | errors.RecordListTooLargeError):
        return Oversized(f"Kafka refused the action for {message.to!r}: {type(error).__name__}: {error}")
    if isinstance(error, final):
        return Undeliverable(f"Kafka refused the action for {message.to!r}: {type(error).__name__}: {error}")
    return Unavailable("kafka", f"topic {message.to!r}: {type(error).__name__}: {error}")
