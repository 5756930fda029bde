"""The topic that a consumer on kafka-python reads: its partitions, its identity, where it begins and ends."""

from __future__ import annotations

import logging
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from functools import partial
from typing import Any

from penstock.connectors.kafka.client import CONNECT, Subscription
from penstock.connectors.kafka.note import write
from penstock.connectors.kafka.orphans import Answer
from penstock.connectors.kafka.python_client import library, offsets
from penstock.connectors.kafka.start import Starts
from penstock.errors import Unavailable

log = logging.getLogger("penstock.kafka")

ANSWER = 1000
"""Milliseconds that a broker has to answer."""


class PythonTopic:
    """What is asked of the brokers about one topic.

    `id` is the topic's lasting identity, in the form that Kafka's own tools print; empty where it is not known.
    """

    def __init__(self, subscription: Subscription) -> None:
        self.name = subscription.topic
        self.id = ""
        self._settings = subscription.settings
        self._consumer: Any = None
        self._cluster: Any = None
        self._known: Any = None
        self._first = 0
        self._count = 0
        self._rejoin = 0.0

    def attach(self, consumer: Any) -> None:
        """Ask through this consumer from now on."""
        self._consumer = consumer
        # Its view of the cluster: there is no public way to what is needed of it.
        self._cluster = consumer._cluster

    def place(self, number: int) -> Any:
        """A partition, as the client names it."""
        return library("kafka").TopicPartition(self.name, number)

    def learn(self) -> list[int]:
        """Learn the identity; the partitions. A broker may make a topic that is asked for, which takes a moment.

        Asked after subscribing, so that joining does not begin with an outdated view, and again right away. Raises
        `Unavailable`.
        """
        deadline = time.monotonic() + CONNECT
        update = self._cluster.request_update()
        while not update.is_done or not (found := self._cluster.partitions_for_topic(self.name)):
            if time.monotonic() > deadline:
                raise Unavailable("kafka", f"topic {self.name!r} at {self._settings.address} does not exist")
            if update.is_done:
                update = self._cluster.request_update()
            time.sleep(0.01)
        self.id = self._identity()
        self._first = min(found)
        return sorted(found)

    def _identity(self) -> str:
        identity = self._cluster.topic_id(self.name)
        if identity is None or not identity.int:
            return ""
        return urlsafe_b64encode(identity.bytes).decode().rstrip("=")

    def start_at_latest(self) -> None:
        """At the group's first start, commit the ends; what is added to the topic later starts at its beginning."""
        errors = library("kafka.errors")
        self._consumer.assign([self.place(0)])
        places = [self.place(number) for number in self.learn()]
        limit = round(CONNECT * 1000)
        if all(self._consumer.committed(place, timeout_ms=limit) is None for place in places):
            ends = self._consumer.end_offsets(places, timeout_ms=limit)
            try:
                # With a note, that it can be told from one which somebody else has made.
                commits = {place: (end, write(self.id, end, ())) for place, end in ends.items()}
                self._consumer.commit(offsets(commits), timeout_ms=limit)
            except errors.UnknownMemberIdError:
                log.debug("a member that is there already has resolved where to start")
        self._consumer.unsubscribe()

    def standing(self) -> dict[int, tuple[int, str | None]]:
        """What the group has committed, without becoming a member. Raises `KafkaError` or `Unavailable`."""
        self._consumer.assign([self.place(0)])
        limit = round(CONNECT * 1000)
        commits = {
            number: self._consumer.committed(self.place(number), metadata=True, timeout_ms=limit)
            for number in self.learn()
        }
        return {number: (one.offset, one.metadata) for number, one in commits.items() if one is not None}

    def look(self, now: float, starts: Starts) -> None:
        """See whether the topic is another, which raises `Broken`, or has more partitions.

        Then the group is joined once more, a while later. The client joins at once, but a broker tells of new
        partitions bit by bit, and the assignment may be made with fewer than the client then takes for assigned: the
        rest would be nobody's. Joining again without a change takes nothing from anybody.
        """
        if (identity := self._cluster.topic_id(self.name)) is not self._known:
            self._known = identity
            starts.compare(self.id, self._identity())
        count = len(self._cluster.partitions_for_topic(self.name) or ())
        if count > self._count:
            if self._count:
                self._rejoin = now + 2 * self._settings.metadata_interval
            self._count = count
        elif self._rejoin and now > self._rejoin:
            self._rejoin = 0.0
            self._consumer._coordinator.request_rejoin()

    def beginning(self, number: int) -> int | None:
        """The first offset that the broker still has, None where it does not say."""
        place = self.place(number)
        try:
            found: int = self._consumer.beginning_offsets([place], timeout_ms=ANSWER)[place]
        except library("kafka.errors").KafkaError:
            return None
        return found

    def claimed(self, group: str, tell: Callable[[Answer], None]) -> None:
        """Ask which partitions the members of a group have; `tell` is called on the client's own thread."""
        coordinator = self._consumer._coordinator
        request = library("kafka.protocol.admin").DescribeGroupsRequest(groups=[group])
        manager = coordinator._manager
        asked = manager.call_soon(partial(manager.send, request, node_id=coordinator.coordinator_id))
        asked.add_callback(lambda answer: tell(self._claims(answer.groups[0])))
        asked.add_errback(lambda _: tell(None))

    def _claims(self, group: Any) -> Answer:
        if group.group_state != "Stable":
            return None
        decode = library("kafka.protocol.consumer").ConsumerProtocolAssignment.decode
        places = [place for each in group.members for place in decode(each.member_assignment).partitions()]
        return frozenset(place.partition for place in places if place.topic == self.name)

    def ask(self) -> None:
        """Ask for one offset, to see whether a broker is there. Raises `KafkaError`."""
        self._consumer.end_offsets([self.place(self._first)], timeout_ms=ANSWER)
