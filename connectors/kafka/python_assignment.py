"""The partitions of a consumer on kafka-python: how they come and go, and what is committed of them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

from penstock.connectors.kafka.batch import Commits
from penstock.connectors.kafka.client import Listener
from penstock.connectors.kafka.python_client import library, offsets
from penstock.connectors.kafka.python_topic import PythonTopic
from penstock.connectors.kafka.start import Starts

log = logging.getLogger("penstock.kafka")

T = TypeVar("T")


class PythonAssignment:
    """What the client's calls on a rebalance and after a commit mean to the listener.

    Rebalances are told on the client's own loop, which must go on beating meanwhile: nothing there may block.
    """

    def __init__(self, topic: PythonTopic, starts: Starts, listener: Listener) -> None:
        self.topic = topic
        self.starts = starts
        self.listener = listener

    def commit(self, consumer: Any, commits: Commits) -> None:
        """Begin to commit."""
        consumer.commit_async(self._offsets(commits), callback=partial(self._committed, commits))

    def _committed(self, commits: Commits, _: object, answer: object) -> None:
        self.listener.committed(commits, answer if isinstance(answer, Exception) else None)

    def _offsets(self, commits: Commits) -> dict[Any, Any]:
        return offsets({self.topic.place(number): commit for number, commit in commits.items()})

    async def assigned(self, consumer: Any, places: Collection[Any]) -> None:
        """These come: said before the client asks where to begin."""
        found = await consumer._coordinator.fetch_committed_offsets_async(set(places))
        commits = {place.partition: (commit.offset, commit.metadata) for place, commit in found.items()}
        begun = await _answered(consumer, self.listener.begin(self.topic.id, commits))
        for number, (offset, _) in begun.items():
            if offset != commits[number][0]:
                consumer.seek(self.topic.place(number), offset)
        for number in self.starts.resolve(self.topic.id, begun):
            consumer.seek_to_beginning(self.topic.place(number))
        self.listener.assigned(self.topic.id, [place.partition for place in places])

    async def revoked(self, consumer: Any, places: Iterable[Any]) -> None:
        """These leave in good order, when what runs of them is finished and committed."""
        commits = await _answered(consumer, self.listener.revoked([place.partition for place in places]))
        if commits:
            try:
                await consumer.commit_async(self._offsets(commits))
            except Exception as error:  # whatever it is, the partitions go, and their records come again
                log.warning("the last commit of %s failed: %s", sorted(commits), error)

    def lost(self, places: Iterable[Any]) -> None:
        """Others have these already."""
        self.listener.lost([place.partition for place in places])

    def rebalances(self, consumer: Any) -> Any:
        """What the client tells of them: of the asynchronous kind, for the other stops heartbeats and cannot commit."""
        base: Any = library("kafka.consumer.subscription_state").AsyncConsumerRebalanceListener
        assignment = self

        class Rebalances(base):  # type: ignore[misc]
            async def on_partitions_assigned(self, assigned: Collection[Any]) -> None:
                await assignment.assigned(consumer, assigned)

            async def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
                await assignment.revoked(consumer, revoked)

            async def on_partitions_lost(self, lost: Iterable[Any]) -> None:
                assignment.lost(lost)

        return Rebalances()


async def _answered(consumer: Any, answer: Future[T]) -> T:
    """The listener's answer, awaited on the client's loop."""
    net, answered = consumer._net, library("kafka.future").Future()

    def finish() -> None:
        answered.success(None)

    answer.add_done_callback(lambda _: net.call_soon_threadsafe(finish))
    await answered
    return answer.result()
