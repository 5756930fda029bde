"""Kafka through confluent-kafka: the faster client, used when it is installed."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from penstock.connectors.kafka.batch import Commits, KafkaBatch
from penstock.connectors.kafka.client import CONNECT, MOST, Broken, Fenced, Listener, Subscription
from penstock.connectors.kafka.confluent_assignment import ConfluentAssignment
from penstock.connectors.kafka.confluent_batch import ConfluentBatches
from penstock.connectors.kafka.confluent_client import committed, connection
from penstock.connectors.kafka.confluent_health import ConfluentHealth
from penstock.connectors.kafka.confluent_topic import ConfluentTopic
from penstock.connectors.kafka.orphans import Orphans
from penstock.connectors.kafka.seat import Seat
from penstock.connectors.kafka.start import Starts
from penstock.errors import ConfigError, Unavailable

if TYPE_CHECKING:
    import confluent_kafka as ck


class ConfluentConsumer:
    """A group member on librdkafka, whose own threads fetch ahead and send heartbeats."""

    def __init__(self, subscription: Subscription, listener: Listener) -> None:
        self.subscription = subscription
        self.seat: Seat | None = None
        self._starts = Starts(subscription.topic)
        self._topic = ConfluentTopic(subscription)
        self._assignment = ConfluentAssignment(self._topic, self._starts, listener)
        self._health = ConfluentHealth(subscription.topic, listener.trouble)
        asks = partial(self._topic.claimed, subscription.group)
        self._orphans = Orphans(subscription.topic, asks, self._rejoin)
        self._fenced = False
        self._consumer: ck.Consumer | None = None
        self._grouped = False
        self._group: Any = None
        self._known = threading.Event()

    def open(self) -> None:
        import confluent_kafka as ck

        self._error: Any = ck.Message.error
        self._health.reset()
        self.seat = None if self._fenced else self.subscription.seat()
        try:
            self._consumer = consumer = ck.Consumer(self._configuration())
        except ck.KafkaException as error:
            self.close()
            where = self.subscription.settings.address
            raise ConfigError(f"Kafka at {where}: {error.args[0].str()}") from None
        self._batches = ConfluentBatches(self._starts, partial(self._topic.beginning, consumer))
        try:
            partitions = self._topic.find(consumer)
            if self.subscription.start == "latest" and self._starts.first:
                self._topic.start_at_latest(consumer, partitions)
            self._starts.first = False
            self._subscribe(consumer)
        except ck.KafkaException as error:
            consumer.poll(0)  # what the client has to tell about it
            self.close()
            if self._health.refused:
                raise ConfigError(f"Kafka at {self.subscription.settings.address}: {self._health.refused}") from None
            raise Unavailable("kafka", error.args[0].str()) from None
        except BaseException:
            self.close()
            raise

        named = self.seat is not None and self.seat.name
        self._orphans.begin(partitions if named else (), time.monotonic())

    def _subscribe(self, consumer: ck.Consumer) -> None:
        consumer.subscribe(
            [self.subscription.topic],
            on_assign=self._assigned,
            on_revoke=self._revoked,
            on_lost=self._assignment.lost,
        )

    def _rejoin(self) -> None:
        """Leave and come again, since the client has no way to ask for a rebalance; what is dropped is read again."""
        assert self._consumer is not None
        self._give_up_the_seat(self._consumer)
        self._subscribe(self._consumer)

    def standing(self) -> tuple[str, Mapping[int, tuple[int, str | None]]]:
        import confluent_kafka as ck

        settings, group = self.subscription.settings, self.subscription.group
        consumer = ck.Consumer({**connection(settings), "group.id": group, "enable.auto.commit": False})
        try:
            numbers = self._topic.find(consumer)
            return self._topic.id, committed(consumer, self.subscription.topic, numbers)
        except ck.KafkaException as error:
            raise Unavailable("kafka", error.args[0].str()) from None
        finally:
            consumer.close()

    def _configuration(self) -> dict[str, Any]:
        settings = self.subscription.settings
        return {
            **connection(settings),
            **self._membership(),
            "client.id": self.subscription.client_id,
            "group.id": self.subscription.group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "allow.auto.create.topics": True,
            "max.poll.interval.ms": round(settings.poll_interval * 1000),
            "topic.metadata.refresh.interval.ms": round(settings.metadata_interval * 1000),
            # By default a full queue is looked at again after a second.
            "fetch.queue.backoff.ms": 5,
            "error_cb": self._health.trouble,
            "on_commit": self._assignment.committed,
        }

    def _membership(self) -> dict[str, Any]:
        settings = self.subscription.settings
        if settings.protocol == "consumer":
            return {"group.protocol": "consumer"}
        session = round(settings.session_timeout * 1000)
        found = {
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": session,
            # Its own default is longer than a short session, which would then end again and again.
            "heartbeat.interval.ms": min(3000, session // 3),
        }
        if self.seat is not None and self.seat.name:
            found["group.instance.id"] = self.seat.name
        return found

    def poll(self, seconds: float) -> Iterable[tuple[int, KafkaBatch]]:
        assert self._consumer is not None
        self._topic.compare(self._starts)
        self._orphans.look(time.monotonic())
        self._learn_the_group()
        # `consume` waits until it has as many as it was asked for, so it is only ever asked for what is there.
        messages = self._consumer.consume(MOST, 0)
        if not messages:
            first = self._consumer.poll(seconds)
            if first is None:
                self._health.probe(self._consumer)
                return ()
            messages = [first, *self._consumer.consume(MOST - 1, 0)]
        if any(map(self._error, messages)):
            messages = self._without_errors(messages)
        if self._health.down and messages:
            self._health.well()
        return self._batches.of(messages)

    def _without_errors(self, messages: list[Any]) -> list[Any]:
        """Leave out what is no record but a report; raise for one that ends the client."""
        import confluent_kafka as ck

        records = []
        for message in messages:
            error = message.error()
            if error is None:
                records.append(message)
            elif error.fatal() or error.code() == ck.KafkaError._FATAL:
                if "fenced" in error.str() and self.seat is not None:
                    self._fenced = True
                    raise Fenced(self.seat.name, self.subscription.group)
                raise Broken(error.str())
            elif error.code() != ck.KafkaError._PARTITION_EOF:
                self._health.trouble(error)
        return records

    def pause(self, partitions: Collection[int]) -> None:
        assert self._consumer is not None
        self._consumer.pause([place for place in self._consumer.assignment() if place.partition in partitions])

    def resume(self, partitions: Collection[int]) -> None:
        assert self._consumer is not None
        self._consumer.resume([place for place in self._consumer.assignment() if place.partition in partitions])

    def commit(self, commits: Commits) -> None:
        if self._consumer is None:
            raise Broken("the consumer is closed")
        self._assignment.commit(self._consumer, commits)

    def _assigned(self, consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        self._learn_the_group()
        self._assignment.assigned(consumer, partitions)

    def _revoked(self, consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        self._learn_the_group()
        self._assignment.revoked(consumer, partitions)

    def group(self) -> Any:
        # Asked for by this thread alone: the client waits for its other threads without letting go of the interpreter
        # lock, and they may be waiting for one that polls, and wants it.
        self._grouped = True
        if not self._known.wait(CONNECT) or self._group is None:
            raise Broken("the consumer is closed")
        return self._group

    def _learn_the_group(self) -> None:
        if self._grouped and self._consumer is not None:
            self._group = self._consumer.consumer_group_metadata()
            self._known.set()

    def lag(self) -> int | None:
        consumer = self._consumer
        if consumer is None:
            return None
        import confluent_kafka as ck

        try:
            places = consumer.position(consumer.assignment())
            ends = [consumer.get_watermark_offsets(place, cached=True)[1] for place in places]
        except (ck.KafkaException, RuntimeError):
            return None
        return sum(max(0, end - place.offset) for place, end in zip(places, ends, strict=True) if place.offset >= 0)

    def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        self._group = None
        self._known.clear()
        try:
            if consumer is not None:
                self._leave(consumer)
        finally:
            if self.seat is not None:
                self.seat.leave()

    def _leave(self, consumer: ck.Consumer) -> None:
        try:
            if not self._fenced:
                self._give_up_the_seat(consumer)
        finally:
            consumer.close()

    def _give_up_the_seat(self, consumer: ck.Consumer) -> None:
        """A member with a name is taken to come back: closing alone would leave nothing to others for a session."""
        if self.seat is None or not self.seat.name:
            return
        consumer.unsubscribe()
        deadline = time.monotonic() + CONNECT
        while consumer.assignment() and time.monotonic() < deadline:
            consumer.poll(0.01)
