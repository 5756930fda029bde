"""Kafka through kafka-python: no compiler needed, used where confluent-kafka is not installed."""

from __future__ import annotations

import logging
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from operator import attrgetter
from typing import Any, NoReturn, TypeVar

from penstock.connectors.batch import Partition
from penstock.connectors.kafka.batch import Commits, KafkaBatch
from penstock.connectors.kafka.client import CONNECT, MOST, Broken, Fenced, Listener, Subscription
from penstock.connectors.kafka.python_client import connected, library, refusal
from penstock.connectors.kafka.seat import Seat
from penstock.connectors.kafka.start import Starts
from penstock.errors import Unavailable

log = logging.getLogger("penstock.kafka")

T = TypeVar("T")

PROBE = 2.0
"""Seconds without a record after which a broker is asked whether it is there."""

ANSWER = 1000
"""Milliseconds that it has to answer."""


class PythonBatch(KafkaBatch):
    """Records as `kafka.consumer.fetcher.ConsumerRecord`."""

    __slots__ = ()

    def offset(self, index: int) -> int:
        found: int = self.records[index].offset
        return found

    def raw(self, index: int) -> bytes | None:
        found: bytes | None = self.records[index].value
        return found

    def headers(self, index: int) -> Sequence[tuple[str, bytes | None]]:
        return self.records[index].headers or ()

    def time(self, index: int) -> float:
        millis = self.records[index].timestamp
        return millis / 1000 if millis is not None and millis >= 0 else 0.0


class PythonConsumer:
    """A group member on kafka-python, whose own thread fetches and sends heartbeats."""

    def __init__(self, subscription: Subscription, listener: Listener) -> None:
        self.subscription = subscription
        self.listener = listener
        self.topic_id = ""
        self.starts = Starts(subscription.topic)
        self.seat: Seat | None = None
        self._fenced = False
        self._consumer: Any = None
        self._next: dict[int, int] = {}
        self._heard = 0.0
        self._down = False
        self._count = 0
        self._rejoin = 0.0
        self._first = 0
        self._known: Any = None
        self._place: Any = None
        self._net: Any = None
        self._cluster: Any = None

    def open(self) -> None:
        errors = library("kafka.errors")
        self._place = library("kafka").TopicPartition
        settings = self.subscription.settings
        self.seat = None if self._fenced else self.subscription.seat()
        self._consumer = connected(settings, self.subscription.client_id, "KafkaConsumer", self._configuration())
        try:
            # The client's loop, and its view of the cluster: there is no public way to what is needed of them.
            self._net, self._cluster = self._consumer._net, self._consumer._cluster
            if self.subscription.start == "latest" and self.starts.first:
                self._start_at_latest()
            self.starts.first = False
            self._consumer.subscribe([self.subscription.topic], listener=_listener(self))
            self._learn()
        except (errors.KafkaError, TypeError, ValueError) as error:
            self.close()
            raise refusal(settings, error) from None
        except BaseException:
            self.close()
            raise
        self._heard = time.monotonic()
        self._down = False

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

    def _learn(self) -> list[int]:
        """The topic's partitions. A broker may make a topic that is asked for, which takes a moment.

        Asked after subscribing, so that joining does not begin with an outdated view, and again right away.
        """
        name = self.subscription.topic
        deadline = time.monotonic() + CONNECT
        update = self._cluster.request_update()
        while not update.is_done or not (found := self._cluster.partitions_for_topic(name)):
            if time.monotonic() > deadline:
                raise Unavailable("kafka", f"topic {name!r} at {self.subscription.settings.address} does not exist")
            if update.is_done:
                update = self._cluster.request_update()
            time.sleep(0.01)
        self.topic_id = self._identity()
        self._first = min(found)
        return sorted(found)

    def _identity(self) -> str:
        """The topic's lasting id, in the form that Kafka's own tools print; empty where it is not known."""
        identity = self._cluster.topic_id(self.subscription.topic)
        if identity is None or not identity.int:
            return ""
        return urlsafe_b64encode(identity.bytes).decode().rstrip("=")

    def _start_at_latest(self) -> None:
        """At the group's first start, commit the ends; what is added to the topic later starts at its beginning."""
        errors = library("kafka.errors")
        self._consumer.assign([self._place(self.subscription.topic, 0)])
        places = [self._place(self.subscription.topic, number) for number in self._learn()]
        limit = round(CONNECT * 1000)
        if all(self._consumer.committed(place, timeout_ms=limit) is None for place in places):
            ends = self._consumer.end_offsets(places, timeout_ms=limit)
            try:
                self._consumer.commit(_offsets({place: (end, "") for place, end in ends.items()}), timeout_ms=limit)
            except errors.UnknownMemberIdError:
                log.debug("a member that is there already has resolved where to start")
        self._consumer.unsubscribe()

    # -- polling -------------------------------------------------------------------------------------------------

    def poll(self, seconds: float) -> Iterable[tuple[int, KafkaBatch]]:
        self._unpark()
        try:
            found = self._consumer.poll(timeout_ms=round(seconds * 1000), max_records=MOST)
        except library("kafka.errors").FencedInstanceIdError:
            self._raise_fenced()
        coordinator = self._consumer._coordinator
        if not coordinator._heartbeat_enabled and coordinator.stable() and not coordinator.rejoining:
            # All that the client does about it, until it next commits.
            self._raise_fenced()
        now = time.monotonic()
        self._look_for_partitions(now)
        if not found:
            self._probe(now)
            return ()
        self._heard = now
        if self._down:
            self._well()
        return [(place.partition, self._batch(place.partition, records, now)) for place, records in found.items()]

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

    def _batch(self, number: int, records: list[Any], now: float) -> KafkaBatch:
        self._next[number] = end = records[-1].offset + 1
        count = len(records)
        if self.starts.pending:
            records = self.starts.rest(number, records, OFFSET, partial(self._beginning, number))
        headers = [record.headers for record in records]
        return PythonBatch(
            _NOWHERE,
            records,
            [record.value for record in records],
            [record.key for record in records],
            headers if any(headers) else None,
            now,
            end=end,
            sparse=len(records) < count,
        )

    def _beginning(self, number: int) -> int | None:
        """The first offset that the broker still has, None where it does not say."""
        place = self._place(self.subscription.topic, number)
        try:
            found: int = self._consumer.beginning_offsets([place], timeout_ms=ANSWER)[place]
        except library("kafka.errors").KafkaError:
            return None
        return found

    def pause(self, partitions: Collection[int]) -> None:
        self._consumer.pause(*(place for place in self._consumer.assignment() if place.partition in partitions))

    def resume(self, partitions: Collection[int]) -> None:
        self._consumer.resume(*(place for place in self._consumer.paused() if place.partition in partitions))

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
        if self._consumer is not None:
            # A member with a name is taken to come back, and would leave nothing to others before its session ends.
            self._consumer._coordinator.is_dynamic_member = lambda: not self._fenced
            # Partitions are given back on the way, which needs the consumer once more.
            self._consumer.close(autocommit=False, timeout_ms=round(CONNECT * 1000))
            self._consumer = None
        if self.seat is not None:
            self.seat.leave()

    def _look_for_partitions(self, now: float) -> None:
        """Join once more, a while after partitions were added.

        The client joins at once, but a broker tells of new partitions bit by bit, and the assignment may be made with
        fewer than the client then takes for assigned: the rest would be nobody's. Joining again without a change takes
        nothing from anybody.
        """
        if (identity := self._cluster.topic_id(self.subscription.topic)) is not self._known:
            self._known = identity
            self.starts.compare(self.topic_id, self._identity())
        count = len(self._cluster.partitions_for_topic(self.subscription.topic) or ())
        if count > self._count:
            if self._count:
                self._rejoin = now + 2 * self.subscription.settings.metadata_interval
            self._count = count
        elif self._rejoin and now > self._rejoin:
            self._rejoin = 0.0
            self._consumer._coordinator.request_rejoin()

    def _probe(self, now: float) -> None:
        """The client keeps a broker's absence to itself: ask for one offset when it has been quiet."""
        if now - self._heard < PROBE:
            return
        errors = library("kafka.errors")
        place = self._place(self.subscription.topic, self._first)
        try:
            self._consumer.end_offsets([place], timeout_ms=ANSWER)
        except errors.KafkaError as error:
            self._down = True
            self.listener.trouble(f"{self.subscription.settings.address} does not answer: {error}")
        else:
            self._heard = now
            if self._down:
                self._well()

    def _well(self) -> None:
        self._down = False
        self.listener.trouble(None)

    # -- committing and rebalancing ------------------------------------------------------------------------------

    def commit(self, commits: Commits) -> None:
        if self._consumer is None:
            raise Broken("the consumer is closed")
        self._consumer.commit_async(self._offsets(commits), callback=partial(self._committed, commits))

    def _committed(self, commits: Commits, _: object, answer: object) -> None:
        self.listener.committed(commits, answer if isinstance(answer, Exception) else None)

    def _offsets(self, commits: Commits) -> dict[Any, Any]:
        topic = self.subscription.topic
        return _offsets({self._place(topic, number): commit for number, commit in commits.items()})

    async def assigned(self, places: Collection[Any]) -> None:
        """Runs on the client's own loop, before it asks where to begin."""
        found = await self._consumer._coordinator.fetch_committed_offsets_async(set(places))
        commits = {place.partition: (commit.offset, commit.metadata) for place, commit in found.items()}
        begun = await self._answered(self.listener.begin(self.topic_id, commits))
        for number, (offset, _) in begun.items():
            if offset != commits[number][0]:
                self._consumer.seek(self._place(self.subscription.topic, number), offset)
        for number in self.starts.resolve(self.topic_id, begun):
            self._consumer.seek_to_beginning(self._place(self.subscription.topic, number))
        self.listener.assigned(self.topic_id, [place.partition for place in places])

    async def revoked(self, places: Iterable[Any]) -> None:
        """Runs on the client's own loop, which must go on beating meanwhile: nothing here may block."""
        consumer = self._consumer
        commits = await self._answered(self.listener.revoked([place.partition for place in places]))
        if commits:
            try:
                await consumer.commit_async(self._offsets(commits))
            except Exception as error:  # whatever it is, the partitions go, and their records come again
                log.warning("the last commit of %s failed: %s", sorted(commits), error)

    async def _answered(self, answer: Future[T]) -> T:
        """The listener's answer, awaited on the client's loop."""
        net, answered = self._net, library("kafka.future").Future()

        def finish() -> None:
            answered.success(None)

        answer.add_done_callback(lambda _: net.call_soon_threadsafe(finish))
        await answered
        return answer.result()

    def lost(self, places: Iterable[Any]) -> None:
        self.listener.lost([place.partition for place in places])


def _offsets(commits: dict[Any, tuple[int, str]]) -> dict[Any, Any]:
    made = library("kafka").OffsetAndMetadata
    return {place: made(offset, text, -1) for place, (offset, text) in commits.items()}


def _listener(consumer: PythonConsumer) -> Any:
    """A rebalance listener of the asynchronous kind: the other kind stops heartbeats, and cannot commit."""
    base: Any = library("kafka.consumer.subscription_state").AsyncConsumerRebalanceListener

    class Rebalances(base):  # type: ignore[misc]
        async def on_partitions_assigned(self, assigned: Collection[Any]) -> None:
            await consumer.assigned(assigned)

        async def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
            await consumer.revoked(revoked)

        async def on_partitions_lost(self, lost: Iterable[Any]) -> None:
            consumer.lost(lost)

    return Rebalances()


_NOWHERE = Partition("")
OFFSET: Callable[[Any], int] = attrgetter("offset")
