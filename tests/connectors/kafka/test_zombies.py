"""Workers that are killed, and others that are frozen until they are dead to everybody, and then go on.

Whoever reads committed records alone sees each of their actions once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from random import Random
from typing import Protocol

import confluent_kafka as ck
import psutil
import pytest

from tests.connectors.contract import PATIENCE, Record
from tests.connectors.kafka.rig import KafkaRig, in_thread
from tests.servers import Kafka as Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DEATHS = 20
"""With each of the two clients."""


PARTITIONS = 4
CLIENTS = ("confluent", "kafka-python")


@pytest.fixture(scope="module")
def broker() -> Iterator[Server]:
    """A Kafka that looks often for transactions of which nothing is heard."""
    with Server({"transaction.abort.timed.out.transaction.cleanup.interval.ms": "200"}) as server:
        yield server


class Crew:
    """Workers between two topics, and a reader of committed records. Who is frozen keeps its name in the group."""

    def __init__(self, address: str, client: str, log: Path, lasting: str, session: str) -> None:
        self.inbound = KafkaRig(address, client, partitions=PARTITIONS)
        self.outbound = KafkaRig(address, client, partitions=2)
        self.inbound.group = f"transacting-{self.inbound.to}.{self.inbound.to}"
        self.log = log
        self.sent = 0
        self.seen: Counter[bytes] = Counter()
        self.workers: list[subprocess.Popen[bytes]] = []
        self._reader = ck.Consumer(
            {"bootstrap.servers": address, "group.id": f"reader-{self.outbound.to}", "auto.offset.reset": "earliest"}
        )
        self._reader.assign([ck.TopicPartition(self.outbound.to, number, 0) for number in range(2)])
        self._environment = {
            **os.environ,
            **self.inbound.variables,
            "PENSTOCK_KAFKA_SESSION_TIMEOUT": session,
            "PENSTOCK_KAFKA_TRANSACTION_INTERVAL": "50ms",
            "PENSTOCK_KAFKA_TRANSACTION_TIMEOUT": lasting,
        }

    def start(self, step: str = "") -> subprocess.Popen[bytes]:
        """One worker more; one that freezes before this step of its first transaction, or dies at it, if so."""
        command = [sys.executable, "-m", "tests.connectors.kafka.transacting_worker", self.inbound.to, self.outbound.to]
        with self.log.open("ab") as log:
            made = subprocess.Popen([*command, step], env=self._environment, stderr=log)
        self.workers.append(made)
        return made

    async def end(self, worker: subprocess.Popen[bytes]) -> None:
        """`kill -9`."""
        self.workers.remove(worker)
        worker.kill()
        await in_thread(worker.wait)

    async def produce(self, count: int) -> None:
        """So many events more."""
        some = range(self.sent, self.sent + count)
        await self.inbound.produce([Record(b'{"n": %d}' % n, b"%d" % (n % 50), partition=n % PARTITIONS) for n in some])
        self.sent = some.stop

    async def has_seen(self, goal: int) -> None:
        """Wait until so many actions are to be seen."""

        async def seen() -> bool:
            for message in self._reader.consume(10_000, 0):
                assert message.error() is None, message.error()
                self.seen[message.value() or b""] += 1
            return self.seen.total() >= goal

        await self.until(seen, f"{goal} actions are seen")

    async def until(self, done: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait until something is so. Fails with what the workers have logged."""
        try:
            async with asyncio.timeout(2 * PATIENCE):
                while not await done():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"never: {what}\n{self.log.read_text()[-20000:]}") from None

    async def alone(self) -> bool:
        """Whether the group has one member, who has everything."""
        groups = self.inbound.admin.describe_consumer_groups([self.inbound.group])
        found = await in_thread(groups[self.inbound.group].result)
        return [len(member.assignment.topic_partitions) for member in found.members] == [
            PARTITIONS
        ] and found.state == ck.ConsumerGroupState.STABLE

    async def check(self) -> None:
        """Every action of every event was seen once, also when all has settled."""
        await self.has_seen(2 * self.sent)
        await self.produce(100)
        await self.has_seen(2 * self.sent)
        assert set(self.seen) == {b'"%s %d"' % (act, n) for act in (b"one", b"two") for n in range(self.sent)}
        assert max(self.seen.values()) == 1, [value for value, count in self.seen.items() if count > 1][:20]

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()
        self._reader.close()


class Hire(Protocol):
    def __call__(self, client: str, lasting: str, session: str = "2s") -> Crew: ...


@pytest.fixture
def crew(broker: Server, tmp_path: Path) -> Iterator[Hire]:
    """Makes the crew of a test: of a client, and with transactions, and a silence of members, that may last so long."""
    made: list[Crew] = []

    def make(client: str, lasting: str, session: str = "2s") -> Crew:
        made.append(Crew(broker.address, client, tmp_path / "log", lasting, session))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("client", CLIENTS)
async def test_each_action_is_seen_once_whatever_is_killed(client: str, crew: Hire) -> None:
    """Two workers, of which one or the other is killed at a moment of its own; every seventh is a zombie before."""
    all, chance = crew(client, "4s"), Random(client)
    all.start()
    all.start()
    for death in range(DEATHS):
        await all.produce(150)
        await all.has_seen(min(all.seen.total() + chance.randrange(1, 400), 2 * all.sent))
        await asyncio.sleep(chance.random() / 5)
        victim = chance.choice(all.workers)
        if death % 7 == 6:
            victim.send_signal(signal.SIGSTOP)
            # The group gives its partitions to the other, and the broker ends what it has left open.
            await all.produce(100)
            await all.has_seen(2 * all.sent)
            victim.send_signal(signal.SIGCONT)
            await all.produce(100)
            await all.has_seen(2 * all.sent - chance.randrange(1, 200))
        await all.end(victim)
        all.start()
    await all.check()


@pytest.mark.parametrize("client", CLIENTS)
async def test_who_dies_between_giving_partitions_up_and_joining_again_leaves_none_to_nobody(
    client: str, crew: Hire
) -> None:
    """The group gives whoever comes back what the dead had kept, and nobody else is told to join again."""
    all = crew(client, "4s", session="120s")
    first = all.start(step="revoked")
    await all.produce(100)
    await all.has_seen(200)
    all.start()

    async def dead() -> bool:
        return first.poll() is not None

    await all.until(dead, "it dies")
    all.workers.remove(first)
    all.start()
    await all.check()


@pytest.mark.parametrize(
    ("step", "lasting"),
    [
        pytest.param("_offsets", "60s", id="its partitions are another's"),
        pytest.param("_commit", "60s", id="its offsets wait for it"),
        pytest.param("_commit", "4s", id="its transaction has timed out"),
    ],
)
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_zombie_at_the_worst_moment(client: str, step: str, lasting: str, crew: Hire) -> None:
    """Between its actions and their offsets, or between those and the commit, until others have all that it had."""
    both = crew(client, lasting)
    zombie = both.start(step=step)
    await both.produce(300)

    async def frozen() -> bool:
        return psutil.Process(zombie.pid).status() == psutil.STATUS_STOPPED

    await both.until(frozen, "it freezes")
    heir = both.start()
    waits = (step, lasting) == ("_commit", "60s")

    async def inherited() -> bool:
        # While the transaction may still be committed, nobody is told where to begin.
        return await both.alone() if waits else await both.inbound.confirmed() == both.sent

    async def given_up() -> bool:
        return "was given up, and its records come again" in both.log.read_text()

    await both.until(inherited, "the other has its partitions")
    zombie.send_signal(signal.SIGCONT)
    if not waits:
        await both.until(given_up, "the zombie gives up")
    await both.has_seen(2 * both.sent)
    assert await given_up() != waits
    await both.check()
    await both.end(heir)
    await both.check()
