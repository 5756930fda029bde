"""Kafka through kafka-python: no compiler needed, used where confluent-kafka is not installed."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import Any, NoReturn

from penstock.connectors.kafka.batch import Commits, KafkaBatch
from penstock.connectors.kafka.client import CONNECT, MOST, Broken, Fenced, Listener, Subscription
from penstock.connectors.kafka.orphans import Orphans
from penstock.connectors.kafka.python_assignment import PythonAssignment
from penstock.connectors.kafka.python_batch import batch
from penstock.connectors.kafka.python_client import connected, library, refusal
from penstock.connectors.kafka.python_names import lenient
from penstock.connectors.kafka.python_topic import PythonTopic
from penstock.connectors.kafka.seat import Seat
from penstock.connectors.kafka.start import Starts

PROBE = 2.0
"""Seconds without a record after which a broker is asked whether it is there."""


class PythonConsumer:
    """A group member on kafka-python, whose own thread fetches and sends heartbeats."""

    def __init__(self, subscription: Subscription, listener: Listener) -> None:
        self.subscription = subscription
        self.listener = listener
        self.seat: Seat | None = None
        self._starts = Starts(subscription.topic)
        self._topic = PythonTopic(subscription)
        self._assignment = PythonAssignment(self._topic, self._starts, listener)
        self._orphans = Orphans(
            subscription.topic,
            partial(self._topic.claimed, subscription.group),
            lambda: self._consumer._coordinator.request_rejoin(),
        )
        self._fenced = self._lenient = False
        self._consumer: Any = None
        self._next: dict[int, int] = {}
        self._heard = 0.0
        self._down = False

    def open(self) -> None:
        errors = library("kafka.errors")
        settings = self.subscription.settings
        self.seat = None if self._fenced else self.subscription.seat()
        self._consumer = consumer = connected(
            settings, self.subscription.client_id, "KafkaConsumer", self._configuration()
        )
        try:
            self._topic.attach(consumer)
            if self.subscription.start == "latest" and self._starts.first:
                self._topic.start_at_latest()
            self._starts.first = False
            consumer.subscribe([self.subscription.topic], listener=self._assignment.rebalances(consumer))
            partitions = self._topic.learn()
        except (errors.KafkaError, TypeError, ValueError) as error:
            self.close()
            raise refusal(settings, error) from None
        except BaseException:
            self.close()
            raise
        self._heard = time.monotonic()
        self._down = False
        self._orphans.begin(partitions if self.seat is not None and self.seat.name else (), self._heard)

    def standing(self) -> tuple[str, Mapping[int, tuple[int, str | None]]]:
        settings, group = self.subscription.settings, self.subscription.group
        options = {"group_id": group, "enable_auto_commit": False}
        consumer = connected(settings, self.subscription.client_id, "KafkaConsumer", options)
        try:
            self._topic.attach(consumer)
            commits = self._topic.standing()
            return self._topic.id, commits
        except library("kafka.errors").KafkaError as error:
            raise refusal(settings, error) from None
        finally:
            consumer.close()

    def _configuration(self) -> dict[str, Any]:
        sticky = library("kafka.coordinator.assignors.cooperative_sticky").CooperativeStickyAssignor
        settings = self.subscription.settings
        session = round(settings.session_timeout * 1000)
        return {
            "group_id": self.subscription.group,
            "group_instance_id": (self.seat.name if self.seat is not None else "") or None,
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "isolation_level": "read_committed",
            "partition_assignment_strategy": (sticky,),
            "session_timeout_ms": session,
            "heartbeat_interval_ms": min(3000, session // 3),
            "max_poll_interval_ms": round(settings.poll_interval * 1000),
            "max_poll_records": MOST,
            "metadata_max_age_ms": round(settings.metadata_interval * 1000),
        }

    def poll(self, seconds: float) -> Iterable[tuple[int, KafkaBatch]]:
        self._unpark()
        try:
            found = self._consumer.poll(timeout_ms=round(seconds * 1000), max_records=MOST)
        except library("kafka.errors").FencedInstanceIdError:
            self._raise_fenced()
        except library("kafka.errors").CorruptRecordError as error:
            if self._lenient:
                raise
            self._lenient = True
            lenient()  # the next consumer reads it, if that was it
            raise Broken(f"{error}; reading it once more") from None
        coordinator = self._consumer._coordinator
        if not coordinator._heartbeat_enabled and coordinator.stable() and not coordinator.rejoining:
            # All that the client does about it, until it next commits.
            self._raise_fenced()
        now = time.monotonic()
        self._topic.look(now, self._starts)
        self._orphans.look(now)
        if not found:
            self._probe(now)
            return ()
        self._heard = now
        if self._down:
            self._well()
        return [(place.partition, self._batch(place.partition, records, now)) for place, records in found.items()]

    def _batch(self, number: int, records: list[Any], now: float) -> KafkaBatch:
        self._next[number] = records[-1].offset + 1
        return batch(number, records, now, self._starts, self._topic.beginning)

    def _raise_fenced(self) -> NoReturn:
        self._fenced = True
        raise Fenced(self.seat.name if self.seat is not None else "", self.subscription.group) from None

    def _unpark(self) -> None:
        """Have the records of resumed partitions come.

        The client sets aside what it has read of a paused partition, and takes it up again only when it has nothing in
        hand. It has, once anything came of another partition, even if all of that is handed over.
        """
        fetcher = self._consumer._fetcher
        if fetcher._paused_partition_records and not fetcher._next_partition_records:
            fetcher._next_partition_records = None

    def pause(self, partitions: Collection[int]) -> None:
        self._consumer.pause(*(place for place in self._consumer.assignment() if place.partition in partitions))

    def resume(self, partitions: Collection[int]) -> None:
        self._consumer.resume(*(place for place in self._consumer.paused() if place.partition in partitions))

    def commit(self, commits: Commits) -> None:
        if self._consumer is None:
            raise Broken("the consumer is closed")
        self._assignment.commit(self._consumer, commits)

    def group(self) -> Any:
        consumer = self._consumer
        if consumer is None:
            raise Broken("the consumer is closed")
        return consumer.group_metadata()

    def lag(self) -> int | None:
        if self._consumer is None:
            return None
        total = 0
        for place in self._consumer.assignment():
            try:
                end = self._consumer.highwater(place)
            except Exception:  # it has left us since
                continue
            total += max(0, (end or 0) - self._next.get(place.partition, end or 0))
        return total

    def close(self) -> None:
        try:
            if self._consumer is not None:
                # A member with a name is taken to come back, and would leave nothing to others before its session ends.
                self._consumer._coordinator.is_dynamic_member = lambda: not self._fenced
                # Partitions are given back on the way, which needs the consumer once more.
                self._consumer.close(autocommit=False, timeout_ms=round(CONNECT * 1000))
        finally:
            self._consumer = None
            if self.seat is not None:
                self.seat.leave()

    def _probe(self, now: float) -> None:
        """The client keeps a broker's absence to itself: ask when it has been quiet."""
        if now - self._heard < PROBE:
            return
        try:
            self._topic.ask()
        except library("kafka.errors").KafkaError as error:
            self._down = True
            self.listener.trouble(f"{self.subscription.settings.address} does not answer: {error}")
        else:
            self._heard = now
            if self._down:
                self._well()

    def _well(self) -> None:
        self._down = False
        self.listener.trouble(None)
