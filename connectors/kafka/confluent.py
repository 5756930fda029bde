"""Kafka through confluent-kafka: the faster client, used when it is installed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from penstock.connectors.batch import Partition
from penstock.connectors.kafka.batch import Commits, KafkaBatch
from penstock.connectors.kafka.client import CONNECT, MOST, Broken, Fenced, Listener, Subscription
from penstock.connectors.kafka.confluent_client import PROBE, committed, connection
from penstock.connectors.kafka.seat import Seat
from penstock.connectors.kafka.start import Starts
from penstock.errors import ConfigError, Unavailable

if TYPE_CHECKING:
    import confluent_kafka as ck

log = logging.getLogger("penstock.kafka")

NO_ID = "A" * 22
"""How the zero of topic ids is written, which stands for none."""


class ConfluentBatch(KafkaBatch):
    """Records as `confluent_kafka.Message`."""

    __slots__ = ()

    def offset(self, index: int) -> int:
        found: int = self.records[index].offset()
        return found

    def raw(self, index: int) -> bytes | None:
        found: bytes | None = self.records[index].value()
        return found

    def headers(self, index: int) -> Sequence[tuple[str, bytes | None]]:
        return self.records[index].headers() or ()

    def time(self, index: int) -> float:
        kind, millis = self.records[index].timestamp()
        return millis / 1000 if kind else 0.0


class ConfluentConsumer:
    """A group member on librdkafka, whose own threads fetch ahead and send heartbeats."""

    def __init__(self, subscription: Subscription, listener: Listener) -> None:
        self.subscription = subscription
        self.listener = listener
        self.topic_id = ""
        self.starts = Starts(subscription.topic)
        self.seat: Seat | None = None
        self._fenced = False
        self._consumer: ck.Consumer | None = None
        self._next: dict[int, int] = {}
        self._refused = ""
        self._down = False
        self._probed = 0.0
        self._committing: Commits = {}
        self._admin: Any = None
        self._answer: Future[Any] | None = None
        self._asked = 0.0
        self._grouped = False
        self._group: Any = None
        self._known = threading.Event()

    def open(self) -> None:
        import confluent_kafka as ck

        # Called for every record, so they are looked up once.
        self._value, self._key, self._headers = ck.Message.value, ck.Message.key, ck.Message.headers
        self._error: Any = ck.Message.error
        self._partition: Any = ck.Message.partition
        self._offset: Any = ck.Message.offset
        self._refused, self._down = "", False
        self.seat = None if self._fenced else self.subscription.seat()
        self._consumer = consumer = ck.Consumer(self._configuration())
        try:
            partitions = self._partitions(consumer)
            self.topic_id = self._identity()
            if self.subscription.start == "latest" and self.starts.first:
                self._start_at_latest(consumer, partitions)
            self.starts.first = False
            consumer.subscribe(
                [self.subscription.topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
            )
        except ck.KafkaException as error:
            consumer.poll(0)  # what the client has to tell about it
            self.close()
            if self._refused:
                raise ConfigError(f"Kafka at {self.subscription.settings.address}: {self._refused}") from None
            raise Unavailable("kafka", error.args[0].str()) from None
        except BaseException:
            self.close()
            raise

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
            "error_cb": self._trouble,
            "on_commit": self._committed,
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

    def _partitions(self, consumer: ck.Consumer) -> list[int]:
        """The topic's partitions. A broker may make a topic that is asked for, which takes a moment."""
        name = self.subscription.topic
        deadline = time.monotonic() + CONNECT
        while True:
            found = consumer.list_topics(name, timeout=CONNECT).topics[name]
            if found.partitions and found.error is None:
                return sorted(found.partitions)
            if time.monotonic() > deadline:
                raise Unavailable("kafka", f"topic {name!r} at {self.subscription.settings.address}: {found.error}")
            time.sleep(0.05)

    def _identity(self) -> str:
        """The topic's lasting id, in the form that Kafka's own tools print; empty from brokers that have none."""
        return _topic_id(self._describe().result())

    def _describe(self) -> Future[Any]:
        import confluent_kafka as ck
        from confluent_kafka.admin import AdminClient

        if self._admin is None:
            self._admin = AdminClient(connection(self.subscription.settings))
        self._asked = time.monotonic()
        name = self.subscription.topic
        asked: dict[str, Future[Any]] = self._admin.describe_topics(ck.TopicCollection([name]), request_timeout=CONNECT)
        return asked[name]

    def _look_at_the_topic(self) -> None:
        """The client follows a topic that was made anew as if it were the old one: ask now and then which it is."""
        if self._answer is not None:
            if self._answer.done():
                answer, self._answer = self._answer, None
                if answer.exception() is None:
                    self.starts.compare(self.topic_id, _topic_id(answer.result()))
        elif time.monotonic() - self._asked > self.subscription.settings.metadata_interval:
            self._answer = self._describe()

    def _start_at_latest(self, consumer: ck.Consumer, partitions: Sequence[int]) -> None:
        """At the group's first start, commit the ends; what is added to the topic later starts at its beginning."""
        import confluent_kafka as ck

        asked = [ck.TopicPartition(self.subscription.topic, number) for number in partitions]
        if any(found.offset >= 0 for found in consumer.committed(asked, timeout=CONNECT)):
            return
        for each in asked:
            each.offset = consumer.get_watermark_offsets(each, timeout=CONNECT)[1]
        try:
            consumer.commit(offsets=asked, asynchronous=False)
        except ck.KafkaException as error:
            # A member that is there already has resolved it.
            if error.args[0].code() != ck.KafkaError.UNKNOWN_MEMBER_ID:
                raise

    # -- polling -------------------------------------------------------------------------------------------------

    def poll(self, seconds: float) -> Iterable[tuple[int, KafkaBatch]]:
        assert self._consumer is not None
        self._look_at_the_topic()
        self._learn_the_group()
        # `consume` waits until it has as many as it was asked for, so it is only ever asked for what is there.
        messages = self._consumer.consume(MOST, 0)
        if not messages:
            first = self._consumer.poll(seconds)
            if first is None:
                self._probe()
                return ()
            messages = [first, *self._consumer.consume(MOST - 1, 0)]
        if any(map(self._error, messages)):
            messages = self._without_errors(messages)
        if self._down and messages:
            self._well()
        runs: dict[Any, list[Any]] = {}
        for number, run in groupby(messages, self._partition):
            if number in runs:
                runs[number].extend(run)
            else:
                runs[number] = list(run)
        now = time.monotonic()
        return [(number, self._batch(number, records, now)) for number, records in runs.items()]

    def _batch(self, number: int, records: list[Any], now: float) -> KafkaBatch:
        end, count = records[-1].offset() + 1, len(records)
        if self.starts.pending:
            records = self.starts.rest(number, records, self._offset, partial(self._beginning, number))
        headers = list(map(self._headers, records))
        return ConfluentBatch(
            _NOWHERE,
            records,
            list(map(self._value, records)),
            list(map(self._key, records)),
            headers if any(headers) else None,
            now,
            end=end,
            sparse=len(records) < count,
        )

    def _beginning(self, number: int) -> int | None:
        """The first offset that the broker still has, None where it does not say."""
        import confluent_kafka as ck

        assert self._consumer is not None
        place = ck.TopicPartition(self.subscription.topic, number)
        try:
            return int(self._consumer.get_watermark_offsets(place, timeout=PROBE)[0])
        except ck.KafkaException:
            return None

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
                self._trouble(error)
        return records

    def pause(self, partitions: Collection[int]) -> None:
        assert self._consumer is not None
        self._consumer.pause([place for place in self._consumer.assignment() if place.partition in partitions])

    def resume(self, partitions: Collection[int]) -> None:
        assert self._consumer is not None
        self._consumer.resume([place for place in self._consumer.assignment() if place.partition in partitions])

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
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            self._group = None
            self._known.clear()
            try:
                if not self._fenced:
                    self._give_up_the_seat(consumer)
            finally:
                consumer.close()
        if self.seat is not None:
            self.seat.leave()

    def _give_up_the_seat(self, consumer: ck.Consumer) -> None:
        """A member with a name is taken to come back: closing alone would leave nothing to others for a session."""
        if self.seat is None or not self.seat.name:
            return
        consumer.unsubscribe()
        deadline = time.monotonic() + CONNECT
        while consumer.assignment() and time.monotonic() < deadline:
            consumer.poll(0.01)

    # -- committing and rebalancing ------------------------------------------------------------------------------

    def commit(self, commits: Commits) -> None:
        if self._consumer is None:
            raise Broken("the consumer is closed")
        self._committing = commits
        self._consumer.commit(offsets=self._offsets(commits), asynchronous=True)

    def _offsets(self, commits: Commits) -> list[ck.TopicPartition]:
        import confluent_kafka as ck

        topic = self.subscription.topic
        return [ck.TopicPartition(topic, number, offset, text) for number, (offset, text) in commits.items()]

    def _committed(self, error: ck.KafkaError | None, partitions: list[ck.TopicPartition]) -> None:
        first = error or next((each.error for each in partitions if each.error is not None), None)
        commits, self._committing = self._committing, {}
        self.listener.committed(commits, None if first is None else Unavailable("kafka", first.str()))

    def _assigned(self, consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        import confluent_kafka as ck

        self._learn_the_group()
        try:
            commits = committed(consumer, self.subscription.topic, [each.partition for each in partitions])
        except ck.KafkaException as error:
            # To begin without knowing what is finished would do it again.
            raise Broken(f"the group does not tell what is committed: {error.args[0].str()}") from None
        begun = self.listener.begin(self.topic_id, commits).result()
        anew = self.starts.resolve(self.topic_id, begun)
        for each in partitions:
            each.offset = ck.OFFSET_BEGINNING if each.partition in anew else ck.OFFSET_STORED
            if each.offset == ck.OFFSET_STORED and begun.get(each.partition) != commits.get(each.partition):
                each.offset = begun[each.partition][0]
        consumer.incremental_assign(partitions)
        self.listener.assigned(self.topic_id, [each.partition for each in partitions])

    def _revoked(self, consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        import confluent_kafka as ck

        self._learn_the_group()
        # Blocks this thread alone: heartbeats have their own.
        commits = self.listener.revoked([each.partition for each in partitions]).result()
        if not commits:
            return
        try:
            consumer.commit(offsets=self._offsets(commits), asynchronous=False)
        except ck.KafkaException as error:
            log.warning("the last commit of %s failed: %s", sorted(commits), error)

    def _lost(self, _: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        self.listener.lost([each.partition for each in partitions])

    # -- trouble -------------------------------------------------------------------------------------------------

    def _trouble(self, error: ck.KafkaError) -> None:
        import confluent_kafka as ck

        if error.code() == ck.KafkaError._AUTHENTICATION:
            self._refused = error.str()
        # One broker of several that goes away is none of ours.
        if error.code() in (ck.KafkaError._TRANSPORT, ck.KafkaError._RESOLVE, ck.KafkaError._MAX_POLL_EXCEEDED):
            return
        self._down = True
        self.listener.trouble(error.str())

    def _probe(self) -> None:
        """While there is trouble, see whether it is over."""
        now = time.monotonic()
        if not self._down or now - self._probed < PROBE or self._consumer is None:
            return
        self._probed = now
        import confluent_kafka as ck

        try:
            found = self._consumer.list_topics(self.subscription.topic, timeout=PROBE)
        except ck.KafkaException:
            return
        if found.topics[self.subscription.topic].error is None:
            self._well()

    def _well(self) -> None:
        self._down = False
        self.listener.trouble(None)


def _topic_id(described: Any) -> str:
    # Kafka's own tools and kafka-python write the two last digits as a URL can have them.
    found = str(described.topic_id or "").replace("+", "-").replace("/", "_")
    return "" if found == NO_ID else found


_NOWHERE = Partition("")
