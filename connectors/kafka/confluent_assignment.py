"""The partitions of a consumer on confluent-kafka: how they come and go, and what is committed of them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from penstock.connectors.kafka.batch import Commits
from penstock.connectors.kafka.client import Broken, Listener
from penstock.connectors.kafka.confluent_client import committed
from penstock.errors import Unavailable

if TYPE_CHECKING:
    import confluent_kafka as ck

    from penstock.connectors.kafka.confluent_topic import ConfluentTopic
    from penstock.connectors.kafka.start import Starts

log = logging.getLogger("penstock.kafka")


class ConfluentAssignment:
    """What the client's calls on a rebalance and after a commit mean to the listener."""

    def __init__(self, topic: ConfluentTopic, starts: Starts, listener: Listener) -> None:
        self.topic = topic
        self.starts = starts
        self.listener = listener
        self._committing: Commits = {}

    def commit(self, consumer: ck.Consumer, commits: Commits) -> None:
        """Begin to commit. `committed` is the client's `on_commit`."""
        self._committing = commits
        consumer.commit(offsets=self._offsets(commits), asynchronous=True)

    def _offsets(self, commits: Commits) -> list[ck.TopicPartition]:
        import confluent_kafka as ck

        return [ck.TopicPartition(self.topic.name, number, *commit) for number, commit in commits.items()]

    def committed(self, error: ck.KafkaError | None, partitions: list[ck.TopicPartition]) -> None:
        first = error or next((each.error for each in partitions if each.error is not None), None)
        commits, self._committing = self._committing, {}
        self.listener.committed(commits, None if first is None else Unavailable("kafka", first.str()))

    def assigned(self, consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        """These come: begin where the group is, or where the listener says."""
        import confluent_kafka as ck

        self.topic.insist(self.starts)
        try:
            commits = committed(consumer, self.topic.name, [each.partition for each in partitions])
        except ck.KafkaException as error:
            # To begin without knowing what is finished would do it again.
            raise Broken(f"the group does not tell what is committed: {error.args[0].str()}") from None
        begun = self.listener.begin(self.topic.id, commits).result()
        anew = self.starts.resolve(self.topic.id, begun)
        for each in partitions:
            each.offset = ck.OFFSET_BEGINNING if each.partition in anew else ck.OFFSET_STORED
            if each.offset == ck.OFFSET_STORED and begun.get(each.partition) != commits.get(each.partition):
                each.offset = begun[each.partition][0]
        consumer.incremental_assign(partitions)
        self.listener.assigned(self.topic.id, [each.partition for each in partitions])

    def revoked(self, consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        """These leave in good order, when what runs of them is finished and committed."""
        import confluent_kafka as ck

        # Blocks this thread alone: heartbeats have their own.
        commits = self.listener.revoked([each.partition for each in partitions]).result()
        if not commits:
            return
        try:
            consumer.commit(offsets=self._offsets(commits), asynchronous=False)
        except ck.KafkaException as error:
            log.warning("the last commit of %s failed: %s", sorted(commits), error)

    def lost(self, _: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        """Others have these already."""
        self.listener.lost([each.partition for each in partitions])
