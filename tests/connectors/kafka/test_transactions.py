"""Transactional sinks keep the contracts, through both clients."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from functools import partial

import confluent_kafka as ck
import pytest
from kafka.consumer.fetcher import ConsumerRecord

from penstock.connectors import Kafka, Message, Partition
from penstock.connectors.kafka.batch import Progress
from penstock.connectors.kafka.client import Broken, Consumer, Listener, Outlet
from penstock.connectors.kafka.python_batch import PythonBatch
from penstock.connectors.kafka.source import KafkaSource
from penstock.connectors.kafka.transactions import Transactions
from penstock.connectors.kafka.transactor import Offsets
from penstock.errors import PenstockError, Undeliverable
from tests.connectors.contract import PATIENCE, KeyedSinkContract, Ledger, Record, SinkOutageContract, until
from tests.connectors.kafka.rig import KafkaRig, OutageKafkaRig, in_thread
from tests.connectors.kafka.transacting_worker import LARGE, engine, transactions
from tests.connectors.sink_contract import message
from tests.servers import Kafka as Server

pytestmark = pytest.mark.slow

QUICK = {"PENSTOCK_KAFKA_TRANSACTION_INTERVAL": "50ms"}


@pytest.fixture
async def rig(kafka_address: str, client: str) -> AsyncIterator[KafkaRig]:
    made = KafkaRig(kafka_address, client, settings=QUICK)
    made.endpoint = Kafka(made.to, transactional=True)
    yield made
    await made.close()


class TestSink(KeyedSinkContract):
    """A topic as a transactional sink."""


class TestSinkOutage(SinkOutageContract):
    """A transactional sink whose broker goes away."""

    @pytest.fixture
    async def rig(self, own_kafka: Server, client: str) -> AsyncIterator[OutageKafkaRig]:
        made = OutageKafkaRig(own_kafka, client)
        made.endpoint = Kafka(made.to, transactional=True)
        yield made
        await made.close()


async def test_what_no_broker_takes_is_found_among_its_neighbours(kafka_address: str, client: str) -> None:
    """A topic that allows less than a batch holds: the broker refuses all of the batch."""
    rig = KafkaRig(kafka_address, client, partitions=1, settings=QUICK, config={"max.message.bytes": "20000"})
    rig.endpoint = Kafka(rig.to, transactional=True)
    site = rig.site()
    sink, ledger = rig.endpoint.sink(site), Ledger()
    await sink.open(ledger.settled)
    large = Message(rig.to, random.Random(7).randbytes(50_000), id="large")
    sent = [*(message(rig.to, number) for number in range(5)), large, *(message(rig.to, number) for number in (5, 6))]
    sink.send(sent)

    async def settled() -> bool:
        # As the engine does it: what met an outage is sent again.
        failed, ledger.failed = ledger.failed, []
        sink.send([each for each in failed if not isinstance(ledger.outcomes[each.id][-1], Undeliverable)])
        return all(
            outcomes[-1] is None or isinstance(outcomes[-1], Undeliverable) for outcomes in ledger.outcomes.values()
        ) and len(ledger.outcomes) == len(sent)

    await until(settled)
    assert [id for id, outcomes in ledger.outcomes.items() if isinstance(outcomes[-1], Undeliverable)] == ["large"]
    await sink.close()
    await site.close()
    assert [record.value for record in await rig.received(7)] == [b"%d" % number for number in range(7)]
    await rig.close()


async def test_what_no_broker_takes_is_found_among_thousands(kafka_address: str, client: str) -> None:
    """The refusal comes while others are still being handed over, and a topic that allows less than a batch holds is
    learnt from. What is not refused arrives, in order."""
    rig = KafkaRig(kafka_address, client, partitions=2, settings=QUICK, config={"max.message.bytes": "20000"})
    rig.endpoint = Kafka(rig.to, transactional=True)
    site, count = rig.site(), 4000
    sink, ledger = rig.endpoint.sink(site), Ledger()
    await sink.open(ledger.settled)
    sent = [Message(rig.to, b"%d " % n + bytes(1000), b"%d" % (n % 50), id=str(n)) for n in range(count)]
    large = Message(rig.to, random.Random(7).randbytes(50_000), b"7", id="large")
    sent.insert(100, large)
    sink.send(sent)

    async def settled() -> bool:
        failed, ledger.failed = ledger.failed, []
        sink.send([each for each in failed if not isinstance(ledger.outcomes[each.id][-1], Undeliverable)])
        return len(ledger.confirmed()) == count and isinstance(ledger.outcomes[large.id][-1], Undeliverable)

    await until(settled)
    await sink.close()
    await site.close()
    seen: dict[bytes, list[int]] = {}
    for record in await rig.received(count):
        seen.setdefault(record.key or b"", []).append(int((record.value or b"").split()[0]))
    assert seen == {b"%d" % key: list(range(key, count, 50)) for key in range(50)}
    await rig.close()


async def test_a_process_that_has_lost_its_name_goes_on_under_another(rig: KafkaRig) -> None:
    """Two hosts of one name, each with locks of its own: the second fences the first."""
    site = rig.site()
    sink, ledger = rig.endpoint.sink(site), Ledger()
    await sink.open(ledger.settled)
    sink.send([message(rig.to, 0)])
    await sink.flush()
    found = transactions(site)
    before = found._transactor.name
    await in_thread(lambda: fence(rig.address, before))
    sink.send([message(rig.to, 1)])
    await until(lambda: bool(ledger.failed))
    sink.send(ledger.failed)
    await until(lambda: ledger.confirmed() == {"0", "1"})
    sink.send([message(rig.to, 2)])
    await sink.flush()
    assert ledger.outcomes["2"] == [None]
    await sink.close()
    await site.close()
    assert {record.value for record in await rig.received(3)} == {b"0", b"1", b"2"}
    assert found._transactor.name.startswith(before), "the name that is another's now is left to it"
    assert found._transactor.name != before


async def test_records_of_a_failed_transaction_come_again(kafka_address: str, client: str) -> None:
    """Its producer is fenced; one of its actions is too large for the topic."""
    inbound = KafkaRig(kafka_address, client, partitions=2, settings=QUICK)
    outbound = KafkaRig(kafka_address, client, partitions=2, config={"max.message.bytes": "600000"})
    site = inbound.site()
    running = engine(inbound.to, outbound.to, site)
    await running.start()
    found = transactions(site)
    sent: list[int] = []

    def arrived(count: int) -> bool:
        return sum(lane.received for lane in running.lanes) > count

    for turn in range(3):
        some = [*range(turn * 300, turn * 300 + 300), *([LARGE] if turn == 1 else [])]
        await inbound.produce([Record(b'{"n": %d}' % n, b"%d" % (n % 50), partition=n % 2) for n in some])
        sent += some
        await until(partial(arrived, 300 * turn))
        await in_thread(partial(fence, kafka_address, found._transactor.name))
    await until(lambda: running.letters.written == 1)
    wanted = {b'"%s %d"' % (act, n) for act in (b"one", b"two") for n in sent} - {b'"one %d"' % LARGE}
    seen = await outbound.received(len(wanted))
    await running.stop()
    assert Counter(record.value for record in seen) == Counter(wanted)
    assert await inbound.confirmed() == len(sent)
    await outbound.close()


def fence(address: str, name: str) -> None:
    ck.Producer({"bootstrap.servers": address, "transactional.id": name}).init_transactions(PATIENCE)


class Failing:
    """A producer whose transactions all fail."""

    def open(self) -> None:
        """There is no broker."""

    def transact(self, messages: Sequence[Message], alone: Collection[str], offsets: Sequence[Offsets]) -> None:
        raise Broken("the generation is another by now")

    def close(self) -> None:
        """Nothing is open."""


def never(_: Listener) -> Consumer:
    raise AssertionError("the source is not opened")


async def test_a_partition_that_leaves_while_its_transaction_fails_is_not_committed() -> None:
    """What settles then is not finished, and the last commit before it leaves must not say so."""
    progress = Progress(Partition("t"), KafkaSource("kafka:t", never, interval=1.0, drain=1.0))
    records = [ConsumerRecord("t", 0, 1, offset, -1, 0, None, b"{}", [], None, 0, 0, 0) for offset in range(3)]
    batch = PythonBatch(Partition("t"), records, [b"{}"] * 3, [None] * 3, None, 0.0, end=3)
    progress.add(batch)
    settled: list[Message] = []

    def report(delivered: Sequence[Message], failed: Sequence[tuple[Message, PenstockError]]) -> None:
        for each in delivered:
            batch.settle(each.index)
        settled.extend(delivered)

    transactions = Transactions(lambda anew: Failing(), 0.01)
    await transactions.open()
    transactions.send(
        [Message("out", b"1", id=f"{index}", batch=batch, index=index) for index in range(3)], Outlet(report)
    )
    await until(lambda: len(settled) == 3)
    assert progress.due() is None
    await transactions.close()
