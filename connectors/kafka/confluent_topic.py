"""The topic that a consumer on confluent-kafka reads: its partitions, its identity, where it begins and ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from penstock.connectors.kafka.client import CONNECT, Broken, Subscription
from penstock.connectors.kafka.confluent_client import PROBE, connection
from penstock.connectors.kafka.note import write
from penstock.connectors.kafka.orphans import Answer
from penstock.errors import Unavailable

if TYPE_CHECKING:
    import confluent_kafka as ck

    from penstock.connectors.kafka.start import Starts

log = logging.getLogger("penstock.kafka")

NO_ID = "A" * 22
"""How the zero of topic ids is written, which stands for none."""


class ConfluentTopic:
    """What is asked of the brokers about one topic.

    `id` is the topic's lasting identity, in the form that Kafka's own tools print; empty from brokers that have none.
    """

    def __init__(self, subscription: Subscription) -> None:
        self.name = subscription.topic
        self.id = ""
        self._settings = subscription.settings
        self._admin: Any = None
        self._answer: Future[Any] | None = None
        self._asked = 0.0

    def find(self, consumer: ck.Consumer) -> list[int]:
        """Learn the identity; the partitions. A broker may make a topic that is asked for, which takes a moment.

        Raises `KafkaException` or `Unavailable`.
        """
        deadline = time.monotonic() + CONNECT
        while True:
            found = consumer.list_topics(self.name, timeout=CONNECT).topics[self.name]
            if found.partitions and found.error is None:
                break
            if time.monotonic() > deadline:
                raise Unavailable("kafka", f"topic {self.name!r} at {self._settings.address}: {found.error}")
            time.sleep(0.05)
        self._answer = None
        self.id = _identity(self._describe().result())
        return sorted(found.partitions)

    def _asks(self) -> Any:
        """The client for such questions."""
        from confluent_kafka.admin import AdminClient

        if self._admin is None:
            self._admin = AdminClient(connection(self._settings))
        return self._admin

    def _describe(self) -> Future[Any]:
        import confluent_kafka as ck

        self._asked = time.monotonic()
        wanted = ck.TopicCollection([self.name])
        asked: dict[str, Future[Any]] = self._asks().describe_topics(wanted, request_timeout=CONNECT)
        return asked[self.name]

    def claimed(self, group: str, tell: Callable[[Answer], None]) -> None:
        """Tell which partitions the members of a group have.

        Blocks a moment. The client's `describe_consumer_groups` would not, but ends the process where the broker goes
        away before it answers: https://github.com/confluentinc/librdkafka/issues/4605.
        """
        import confluent_kafka as ck
        from confluent_kafka.cimpl import _AdminClientImpl

        found: list[Any] = []
        try:
            found = _AdminClientImpl.list_groups(self._asks(), group, timeout=PROBE)
        except ck.KafkaException as error:
            log.debug("the group is asked again later: %s", error)
        stable = [each for each in found if each.error is None and each.state == "Stable"]
        claims = [claim for each in stable for member in each.members for claim in assigned(member.assignment)]
        tell(frozenset(number for topic, number in claims if topic == self.name) if stable else None)

    def compare(self, starts: Starts) -> None:
        """Ask now and then which topic it is: the client follows one that was made anew as if it were the old one.

        Raises `Broken` when it is another.
        """
        if self._answer is not None:
            if self._answer.done():
                answer, self._answer = self._answer, None
                if answer.exception() is None:
                    starts.compare(self.id, _identity(answer.result()))
        elif time.monotonic() - self._asked > self._settings.metadata_interval:
            self._answer = self._describe()

    def insist(self, starts: Starts) -> None:
        """The same at once: records of another topic must not pass for those of the one that was found.

        Raises `Broken` where nobody says.
        """
        import confluent_kafka as ck

        try:
            starts.compare(self.id, _identity(self._describe().result()))
        except ck.KafkaException as error:
            raise Broken(f"topic {self.name!r}: {error.args[0].str()}") from None

    def start_at_latest(self, consumer: ck.Consumer, partitions: Sequence[int]) -> None:
        """At the group's first start, commit the ends; what is added to the topic later starts at its beginning."""
        import confluent_kafka as ck

        asked = [ck.TopicPartition(self.name, number) for number in partitions]
        if any(found.offset >= 0 for found in consumer.committed(asked, timeout=CONNECT)):
            return
        for each in asked:
            each.offset = consumer.get_watermark_offsets(each, timeout=CONNECT)[1]
        # With a note, that it can be told from one which somebody else has made.
        ends = [(self.name, each.partition, each.offset, write(self.id, each.offset, ())) for each in asked]
        try:
            consumer.commit(offsets=[ck.TopicPartition(*end) for end in ends], asynchronous=False)
        except ck.KafkaException as error:
            # A member that is there already has resolved it.
            if error.args[0].code() != ck.KafkaError.UNKNOWN_MEMBER_ID:
                raise

    def beginning(self, consumer: ck.Consumer, number: int) -> int | None:
        """The first offset that the broker still has, None where it does not say."""
        import confluent_kafka as ck

        try:
            return int(consumer.get_watermark_offsets(ck.TopicPartition(self.name, number), timeout=PROBE)[0])
        except ck.KafkaException:
            return None


def assigned(assignment: bytes) -> Iterator[tuple[str, int]]:
    """Topics and partitions of a member, from Kafka's `ConsumerProtocolAssignment`, which all its versions begin with.

    >>> list(assigned(bytes.fromhex("0000 00000001 0003 616263 00000002 00000000 00000007 00000000")))
    [('abc', 0), ('abc', 7)]
    """
    at = 6
    for _ in range(int.from_bytes(assignment[2:6], "big")):
        length = int.from_bytes(assignment[at : at + 2], "big")
        topic = assignment[at + 2 : at + 2 + length].decode()
        at += 2 + length + 4
        count = int.from_bytes(assignment[at - 4 : at], "big")
        for start in range(at, at + 4 * count, 4):
            yield topic, int.from_bytes(assignment[start : start + 4], "big")
        at += 4 * count


def _identity(described: Any) -> str:
    # Kafka's own tools and kafka-python write the two last digits as a URL can have them.
    found = str(described.topic_id or "").replace("+", "-").replace("/", "_")
    return "" if found == NO_ID else found
