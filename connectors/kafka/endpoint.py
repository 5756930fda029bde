"""Kafka: topics as sources and sinks, through whichever client library is installed."""

from __future__ import annotations

import asyncio
import importlib.util
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

import msgspec

from penstock.connectors.duration import D
from penstock.connectors.kafka.client import Consumer, Listener, Producer, Subscription
from penstock.connectors.kafka.oversized import BatchSize
from penstock.connectors.kafka.seat import Seat
from penstock.connectors.kafka.sink import KafkaSink, TransactionalSink
from penstock.connectors.kafka.source import KafkaSource
from penstock.connectors.kafka.transactions import Transactions
from penstock.connectors.kafka.transactor import Transactor
from penstock.connectors.site import Site
from penstock.errors import ConfigError

if TYPE_CHECKING:
    from penstock.connectors.settings import KafkaSettings

CLIENTS = {"confluent": "confluent_kafka", "kafka-python": "kafka"}
"""The client libraries by the names that settings use, and what they are imported as; the preferred one first."""

NEEDED = 'pip install "penstock[kafka]", or "penstock[confluent]" for the faster one'


class Kafka(msgspec.Struct, frozen=True):
    """A Kafka topic.

    As a source it is read by the consumer group `group`, by default the pipeline's name and the topic's. `start` says
    where the group begins at its very first start; from then on it goes on where it was. As a sink, the braces of a
    `topic` such as `decisions.{region}` are filled from the action.

    With `dedupe="1h"` a record whose event the source has brought before, and finished within that time, is dropped:
    one with the same declared `id=`, else with the same CloudEvents `source` and `id`.

    `on` names another cluster: `Kafka("t", on="eu")` is at `PENSTOCK_KAFKA__EU`.

    As a sink, `transactional=True` commits actions and the offsets of their events in one transaction: a reader with
    `isolation.level=read_committed` sees each action once, whatever breaks. All sources of the pipeline are then topics
    of the same cluster, and all its sinks such sinks.

    >>> Kafka("payments").address
    'kafka:payments'
    """

    topic: str
    on: str = ""
    group: str | None = None
    start: Literal["latest", "earliest"] = "latest"
    transactional: bool = False
    dedupe: D | None = None

    @property
    def address(self) -> str:
        return f"kafka:{self.topic}"

    def source(self, site: Site) -> KafkaSource:
        self._check()
        settings = site.settings.kafka(self.on)
        group = self.group or f"{site.group}.{self.topic}"
        subscription = Subscription(settings, self.topic, group, self.start, _client_id(site))

        def make(listener: Listener) -> Consumer:
            return consumer(subscription, listener)

        drain = min(settings.drain_timeout, 0.8 * settings.poll_interval)
        return KafkaSource(self.address, make, interval=settings.commit_interval, drain=drain)

    def sink(self, site: Site) -> KafkaSink:
        self._check()
        settings = site.settings.kafka(self.on)
        if self.transactional:
            found = site.share(f"kafka-transactions:{self.on}", lambda: transactions(settings, site))
            return TransactionalSink(self.address, found)

        def make() -> Producer:
            made = producer(settings, _client_id(site))
            site.on_close(made.close)
            return made

        return KafkaSink(self.address, site.share(f"kafka-producer:{self.on}", make))

    async def topics(self, site: Site) -> frozenset[str]:
        """Names of the topics that its cluster has. Raises `Unavailable` or `ConfigError`."""
        from penstock.connectors.kafka import listing

        settings = site.settings.kafka(self.on)
        asking = listing.with_confluent if client(settings) == "confluent" else listing.with_python
        return await asyncio.to_thread(asking, settings, _client_id(site))

    def _check(self) -> None:
        if self.start not in ("latest", "earliest"):
            raise ConfigError(f'Kafka({self.topic!r}): start is {self.start!r}; it is "latest" or "earliest"')


def consumer(subscription: Subscription, listener: Listener) -> Consumer:
    """A consumer of the client that the settings ask for, or the fastest that is installed."""
    if client(subscription.settings) == "confluent":
        from penstock.connectors.kafka.confluent import ConfluentConsumer

        return ConfluentConsumer(subscription, listener)
    if subscription.settings.protocol != "classic":
        raise ConfigError(
            "PENSTOCK_KAFKA_PROTOCOL=consumer needs confluent-kafka: kafka-python has the classic one alone"
        )
    from penstock.connectors.kafka.python import PythonConsumer

    return PythonConsumer(subscription, listener)


def producer(settings: KafkaSettings, client_id: str) -> Producer:
    """A producer of the client that the settings ask for, or the fastest that is installed."""
    if client(settings) == "confluent":
        from penstock.connectors.kafka.confluent_producer import ConfluentProducer

        return ConfluentProducer(settings, client_id)
    from penstock.connectors.kafka.python_producer import PythonProducer

    return PythonProducer(settings, client_id)


def transactions(settings: KafkaSettings, site: Site) -> Transactions:
    """The transactions of a process on one cluster.

    They have a name that outlives the process, so that its next life ends at once what this one may leave open; one of
    its own after another process has taken that name.
    """
    seat = Seat(f"{settings.address} {site.group} transactions")
    name = f"{site.group}-{seat.name}" if seat.name else f"{site.group}-{uuid4().hex}"

    chosen = name
    size = BatchSize(1_000_000)

    def make(anew: bool) -> Transactor:
        nonlocal chosen
        if anew:
            chosen = f"{name}-{uuid4().hex}"
        if client(settings) == "confluent":
            from penstock.connectors.kafka.confluent_transactor import ConfluentTransactor

            return ConfluentTransactor(settings, _client_id(site), chosen, size)
        from penstock.connectors.kafka.python_transactor import PythonTransactor

        return PythonTransactor(settings, _client_id(site), chosen)

    made = Transactions(make, settings.transaction_interval)

    async def close() -> None:
        await made.close()
        seat.leave()

    site.on_close(close)
    return made


def client(settings: KafkaSettings) -> str:
    """Name of the client library to use. Raises `ConfigError` where it is not installed."""
    if settings.client:
        if importlib.util.find_spec(CLIENTS[settings.client]) is None:
            raise ConfigError(f"the Kafka client {settings.client} is asked for and not installed: {NEEDED}")
        return settings.client
    for name, module in CLIENTS.items():
        if importlib.util.find_spec(module) is not None:
            return name
    raise ConfigError(f"Kafka needs a client library and none is installed: {NEEDED}")


def _client_id(site: Site) -> str:
    return f"penstock-{site.group}-{site.worker}"
