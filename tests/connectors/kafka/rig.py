"""A Kafka topic for one test, and a client of its own to look at it from outside."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import confluent_kafka as ck
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic

from penstock.connectors import Settings, Site
from penstock.connectors.kafka.confluent_client import committed
from penstock.connectors.kafka.endpoint import Kafka
from tests.connectors.rig import PATIENCE, Record, until
from tests.servers import Kafka as Server

T = TypeVar("T")

CLIENTS = ("confluent", "kafka-python")
"""The client libraries, as the settings name them."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What the group's coordinator keeps for one partition."""

    offset: int
    metadata: str


class KafkaRig:
    """A topic that no other test has, with two partitions unless told otherwise."""

    def __init__(
        self,
        address: str,
        client: str,
        *,
        partitions: int = 2,
        start: str = "earliest",
        settings: Mapping[str, str] | None = None,
        config: Mapping[str, str] | None = None,
    ) -> None:
        self.address = address
        self.to = f"t-{uuid.uuid4().hex[:12]}"
        self.endpoint = Kafka(self.to, start="latest" if start == "latest" else "earliest")
        self.variables = {"PENSTOCK_KAFKA": address, "PENSTOCK_KAFKA_CLIENT": client, **(settings or {})}
        self.group = f"contract.{self.to}"
        self.admin = AdminClient({"bootstrap.servers": address})
        self._reader: ck.Consumer | None = None
        self._producer: ck.Producer | None = None
        self._seen: list[Record] = []
        self._topic = NewTopic(self.to, partitions, 1, config=dict(config or {}))
        self.admin.create_topics([self._topic])[self.to].result(PATIENCE)

    def site(self) -> Site:
        return Site(Settings(self.variables), pipeline="contract")

    def binary(self, attributes: Mapping[str, str]) -> dict[str, str]:
        return {f"ce_{name}": value for name, value in attributes.items()}

    def identity(self, partition: int, number: int) -> str:
        return f"{self.to}/{partition}/{number}"

    async def produce(self, records: Sequence[Record]) -> None:
        await in_thread(lambda: self._produce(records))

    def _produce(self, records: Sequence[Record]) -> None:
        if self._producer is None:
            # In order, without the half second that an idempotent producer takes to begin.
            config = {"bootstrap.servers": self.address, "linger.ms": 0, "max.in.flight": 1}
            self._producer = ck.Producer(config)
        producer = self._producer
        for record in records:
            producer.produce(self.to, record.value, record.key, record.partition, headers=[*record.headers.items()])
        assert producer.flush(PATIENCE) == 0

    async def confirmed(self) -> int:
        return sum(each.offset for each in (await self.committed()).values())

    async def committed(self) -> dict[int, Committed]:
        return await in_thread(self._committed)

    def _committed(self) -> dict[int, Committed]:
        consumer = ck.Consumer({"bootstrap.servers": self.address, "group.id": self.group})
        try:
            partitions = consumer.list_topics(self.to, timeout=PATIENCE).topics[self.to].partitions
            found = committed(consumer, self.to, sorted(partitions))
        finally:
            consumer.close()
        return {number: Committed(offset, text or "") for number, (offset, text) in found.items()}

    async def commit(self, commits: Mapping[int, tuple[int, str]]) -> None:
        """Commit from outside, while the group has no member."""
        await in_thread(lambda: self._commit(commits))

    def _commit(self, commits: Mapping[int, tuple[int, str]]) -> None:
        consumer = ck.Consumer({"bootstrap.servers": self.address, "group.id": self.group})
        try:
            asked = [ck.TopicPartition(self.to, number, *commit) for number, commit in commits.items()]
            consumer.commit(offsets=asked, asynchronous=False)
        finally:
            consumer.close()

    async def received(self, count: int) -> list[Record]:
        await in_thread(lambda: self._read(count))
        return list(self._seen)

    def _read(self, count: int) -> None:
        if self._reader is None:
            # A broker may say of a partition that was just made that its first offset is out of range.
            reset = {"auto.offset.reset": "earliest"}
            self._reader = ck.Consumer({"bootstrap.servers": self.address, "group.id": f"reader-{self.to}", **reset})
            partitions = self._reader.list_topics(self.to, timeout=PATIENCE).topics[self.to].partitions
            self._reader.assign([ck.TopicPartition(self.to, number, 0) for number in partitions])
        while len(self._seen) < count:
            message = self._reader.poll(PATIENCE)
            assert message is not None, f"{len(self._seen)} of {count} records arrived"
            assert message.error() is None, message.error()
            headers = dict(_text(*each) for each in message.headers() or [])
            self._seen.append(Record(message.value(), message.key(), headers, message.partition() or 0))

    async def add_partitions(self, total: int) -> None:
        """Have `total` partitions; records are then produced with a fresh view of them."""
        self._producer = None
        await in_thread(lambda: self.admin.create_partitions([NewPartitions(self.to, total)])[self.to].result(PATIENCE))

    async def recreate(self) -> None:
        """Delete the topic and make another one of its name."""
        self._producer = None
        before = await in_thread(self.identify)
        await in_thread(lambda: self.admin.delete_topics([self.to])[self.to].result(PATIENCE))

        async def made() -> bool:
            try:
                await in_thread(lambda: self.admin.create_topics([self._topic])[self.to].result(PATIENCE))
                return True
            except ck.KafkaException:
                # The old one is still being deleted, or a reader has asked for it and the broker made it.
                return await in_thread(self.identify) not in ("", before)

        await until(made)

    def delete_before(self, offset: int) -> None:
        """Have the broker delete records as retention does."""
        place = ck.TopicPartition(self.to, 0, offset)
        self.admin.delete_records([place])[place].result(PATIENCE)

    def identify(self) -> str:
        """The topic's lasting id; empty while there is none."""
        try:
            found = self.admin.describe_topics(ck.TopicCollection([self.to]))[self.to].result(PATIENCE)
        except ck.KafkaException:
            return ""
        return str(found.topic_id).replace("+", "-").replace("/", "_")

    async def close(self) -> None:
        if self._reader is not None:
            await in_thread(self._reader.close)


class OutageKafkaRig(KafkaRig):
    """A topic on a server of its own."""

    def __init__(self, server: Server, client: str) -> None:
        super().__init__(server.address, client)
        self.server = server

    async def down(self) -> None:
        await in_thread(self.server.stop)

    async def up(self) -> None:
        await in_thread(self.server.start)


async def in_thread(function: Callable[[], T]) -> T:
    """Run what blocks, without blocking the loop under test."""
    return await asyncio.get_running_loop().run_in_executor(None, function)


def _text(name: object, value: object) -> tuple[str, str]:
    return str(name), value.decode() if isinstance(value, bytes) else str(value or "")
