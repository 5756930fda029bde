"""Kafka keeps the contracts, through both of its clients."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import confluent_kafka as ck
import pytest

from penstock.connectors import Batch, Kafka, Message, Settings, Site, Source
from penstock.connectors.kafka.note import Span, write
from penstock.connectors.kafka.poller import FULL
from penstock.connectors.kafka.python_client import library
from penstock.connectors.kafka.seat import Seat
from penstock.connectors.kafka.source import KafkaSource
from penstock.errors import BadEvent, ConfigError, Unavailable, Undeliverable
from tests.connectors.contract import (
    PATIENCE,
    KeyedSinkContract,
    Ledger,
    LogContract,
    Record,
    SinkOutageContract,
    SourceOutageContract,
    take,
    until,
)
from tests.connectors.kafka.rig import KafkaRig, OutageKafkaRig, in_thread
from tests.connectors.kafka.worker import working
from tests.connectors.source_contract import opened, plain
from tests.servers import Kafka as Server

pytestmark = pytest.mark.slow

CLIENTS = ("confluent", "kafka-python")

# A member's heartbeat tells it of a rebalance, and comes three times in a session.
QUICK = {"PENSTOCK_KAFKA_SESSION_TIMEOUT": "3s"}


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    """The client library under test."""
    return str(request.param)


@pytest.fixture
async def rig(kafka_address: str, client: str) -> AsyncIterator[KafkaRig]:
    made = KafkaRig(kafka_address, client)
    yield made
    await made.close()


class TestSource(LogContract):
    """A topic as a source."""


class TestSink(KeyedSinkContract):
    """A topic as a sink."""


@pytest.fixture(scope="module")
def frail_kafka() -> Iterator[Server]:
    """A broker that the outages of this file take away and bring back, one after the other."""
    with Server() as server:
        yield server


@pytest.fixture
async def outage_rig(frail_kafka: Server, client: str) -> AsyncIterator[OutageKafkaRig]:
    if not frail_kafka.running:  # a test that failed left it so
        frail_kafka.start()
    made = OutageKafkaRig(frail_kafka, client)
    yield made
    await made.close()


@pytest.mark.slow
class TestSourceOutage(SourceOutageContract):
    """A source whose broker goes away."""

    @pytest.fixture
    async def rig(self, outage_rig: OutageKafkaRig) -> OutageKafkaRig:
        return outage_rig


@pytest.mark.slow
class TestSinkOutage(SinkOutageContract):
    """A sink whose broker goes away."""

    @pytest.fixture
    async def rig(self, outage_rig: OutageKafkaRig) -> OutageKafkaRig:
        return outage_rig


# -- starting ----------------------------------------------------------------------------------------------------------


async def test_latest_is_resolved_once(kafka_address: str, client: str) -> None:
    rig = KafkaRig(kafka_address, client, start="latest")
    await rig.produce(plain(b"before"))
    async with opened(rig):
        pass
    await rig.produce(plain(b"while away", partition=1))
    async with opened(rig) as source:
        [record] = await take(source, 1)
        assert record.value == b"while away"


async def test_a_partition_added_later_is_read_from_its_beginning(kafka_address: str, client: str) -> None:
    rig = KafkaRig(kafka_address, client, start="latest", settings={"PENSTOCK_KAFKA_METADATA_INTERVAL": "500ms"})
    await rig.produce(plain(b"before"))
    async with opened(rig) as source:
        await rig.add_partitions(3)
        await rig.produce(plain(b"first", b"second", partition=2))
        taken = await take(source, 2)
        assert [record.value for record in taken] == [b"first", b"second"]


async def test_a_missing_address_is_named() -> None:
    with pytest.raises(ConfigError, match="PENSTOCK_KAFKA is not set"):
        Kafka("t").source(Site(Settings({})))


# -- rebalancing -------------------------------------------------------------------------------------------------------


async def test_partitions_that_leave_wait_for_what_runs(kafka_address: str, client: str) -> None:
    """A second member takes over half of the partitions: nothing is lost, and nothing that was started is repeated."""
    rig = KafkaRig(kafka_address, client, partitions=4, settings=QUICK)
    records = [Record(b"%d" % n, partition=n % 4) for n in range(400)]
    async with opened(rig) as first:
        await rig.produce(records)
        running = await take(first, 400)
        async with opened(rig) as second:
            # The group waits for the first member, which waits for what runs.
            arriving = asyncio.ensure_future(take(second, 1))
            await until(lambda: any(record.batch.fenced for record in running))
            assert not arriving.done()
            for record in running:
                record.settle()
            more = [Record(b"%d" % n, partition=n % 4) for n in range(400, 440)]
            await rig.produce(more)
            seen = await arriving
            while len({record.batch.partition.number for record in seen}) < 2 or len(seen) < 20:
                seen += await take(second, 1)
            rest = await take(first, 20)
            for record in (*seen, *rest):
                record.settle()
            assert {record.value for record in seen} | {record.value for record in rest} == {r.value for r in more}
            assert len(seen) + len(rest) == 40, "nothing came twice"
            await first.confirm()
            await second.confirm()
            assert await rig.confirmed() == 440


async def test_what_is_fenced_and_not_started_goes_to_the_next_owner(kafka_address: str, client: str) -> None:
    rig = KafkaRig(kafka_address, client, partitions=2, settings=QUICK)
    async with opened(rig) as first:
        await rig.produce([Record(b"%d" % n, partition=n % 2) for n in range(100)])
        batches: list[Batch] = []
        while sum(map(len, batches)) < 100:
            batches += await first.receive()
        async with opened(rig) as second:
            seen = await take(second, 50)
            assert len({record.batch.partition.number for record in seen}) == 1
            number = seen[0].batch.partition.number
            assert [record.value for record in seen] == [b"%d" % n for n in range(100) if n % 2 == number]
            assert all(batch.fenced == (batch.partition.number == number) for batch in batches)


@pytest.mark.slow
async def test_not_receiving_for_long_keeps_the_partitions(kafka_address: str, client: str) -> None:
    """Backpressure beyond the time after which the group takes a silent member for stuck."""
    rig = KafkaRig(kafka_address, client, settings={**QUICK, "PENSTOCK_KAFKA_POLL_INTERVAL": "4s"})
    loop = asyncio.get_running_loop()
    async with opened(rig) as source:
        count = 4 * FULL
        await rig.produce([Record(b"%d" % n) for n in range(count)])
        seen = [record.value for record in await take(source, 1)]
        resume = loop.time() + 6
        await until(lambda: loop.time() > resume)
        while len(seen) < count:
            seen += [record.value for record in await take(source, 1)]
        assert seen == [b"%d" % n for n in range(count)]
        assert source.problem is None


# -- what is finished above the commit ---------------------------------------------------------------------------------


async def test_what_was_finished_before_a_kill_does_not_come_again(kafka_address: str, client: str) -> None:
    rig = KafkaRig(kafka_address, client, partitions=1, settings=QUICK)
    await rig.produce([Record(b"%d" % number) for number in range(500)])

    def killed() -> None:
        with working(rig.variables, rig.to, 500, "0", "7"):
            pass

    await in_thread(killed)
    assert (await rig.committed())[0].offset == 0
    async with opened(rig) as source:
        await rig.produce(plain(b"next"))
        again = await take(source, 3)
        assert [record.value for record in again] == [b"0", b"7", b"next"]
        again[0].settle()
        await source.confirm()
        assert (await rig.committed())[0].offset == 7, "what was left out counts as finished"
        again[1].settle()
        await source.confirm()
        assert (await rig.committed())[0].offset == 500


async def test_a_partition_whose_records_are_all_finished_is_committed_whole(kafka_address: str, client: str) -> None:
    """Nothing of it reaches the engine, and yet the commit goes on."""
    rig = KafkaRig(kafka_address, client, partitions=1)
    await rig.produce([Record(b"%d" % number) for number in range(50)])
    async with opened(rig) as source:
        await take(source, 50)
    note = write((await rig.committed())[0].metadata.split()[1], 0, [Span(0, 50)])
    await rig.commit({0: (0, note)})
    async with opened(rig) as source:
        arriving = asyncio.ensure_future(take(source, 1))

        async def committed() -> bool:
            return (await rig.committed())[0].offset == 50

        await until(committed)
        await rig.produce(plain(b"next"))
        [record] = await arriving
        assert record.value == b"next"
        record.settle()


async def test_a_foreign_note_is_ignored(kafka_address: str, client: str) -> None:
    rig = KafkaRig(kafka_address, client, partitions=1)
    await rig.produce(plain(b"0", b"1", b"2", b"3"))
    for text in ("kept by another tool", "penstock/1 ", "penstock/1 - BB 00000000", "penstock/2 x BB abc"):
        await rig.commit({0: (1, text)})
        async with opened(rig) as source:
            again = await take(source, 3)
            assert [record.value for record in again] == [b"1", b"2", b"3"]


async def test_a_partition_far_ahead_of_its_commit_is_read_no_further(
    kafka_address: str, client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.connectors.kafka.poller.SPAN", 1000)
    rig = KafkaRig(kafka_address, client, settings={"PENSTOCK_KAFKA_COMMIT_INTERVAL": "100ms"})
    count = 3 * FULL
    async with opened(rig) as source:
        assert isinstance(source, KafkaSource)
        await rig.produce([Record(b"%d" % n, partition=0) for n in range(count)])
        [parked, *others] = await take(source, 1100)
        for record in others:
            record.settle()
        loop = asyncio.get_running_loop()
        held = loop.time() + 2.5
        seen = [parked, *others]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(held):
                while True:
                    more = await take(source, 1)
                    seen += more
                    for record in more:
                        record.settle()
        taken = len(seen)
        assert taken < count
        assert source.span() == taken
        await rig.produce(plain(b"elsewhere", partition=1))
        [record] = await take(source, 1)
        assert record.value == b"elsewhere", "the other partition goes on"
        record.settle()
        parked.settle()
        while len(seen) < count:
            more = await take(source, 1)
            seen += more
            for record in more:
                record.settle()
        assert [record.value for record in seen] == [b"%d" % n for n in range(count)]


# -- members with a name -----------------------------------------------------------------------------------------------


async def test_a_killed_member_is_back_at_once(kafka_address: str, client: str) -> None:
    """Its session would last for 45 s more."""
    rig = KafkaRig(kafka_address, client, partitions=1)
    await rig.produce(plain(b"0", b"1"))

    def killed() -> None:
        with working(rig.variables, rig.to, 2, "0"):
            pass

    await in_thread(killed)
    async with asyncio.timeout(15), opened(rig) as source:
        [record] = await take(source, 1)
        assert record.value == b"0"


async def test_a_member_that_leaves_in_order_is_not_waited_for(kafka_address: str, client: str) -> None:
    rig = KafkaRig(kafka_address, client, settings={"PENSTOCK_KAFKA_DRAIN_TIMEOUT": "1s"})
    async with opened(rig) as other:
        async with opened(rig) as first:
            await rig.produce(plain(b"0") + plain(b"1", partition=1))
            received = [asyncio.ensure_future(take(source, 1)) for source in (first, other)]
            await asyncio.wait(received, return_when=asyncio.FIRST_COMPLETED)
            for each in received:
                each.cancel()
            await asyncio.wait(received)
        async with asyncio.timeout(20):
            await rig.produce(plain(b"2") + plain(b"3", partition=1))
            seen: set[object] = set()
            while not seen >= {b"2", b"3"}:
                seen |= {record.value for record in await take(other, 1)}


async def test_a_member_whose_name_another_takes_goes_on_without(
    kafka_address: str, client: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two containers with one host name, each with a place for locks of its own."""
    monkeypatch.setattr(Seat, "_take", lambda *_: 0)
    rig = KafkaRig(kafka_address, client, partitions=4, settings={"PENSTOCK_KAFKA_DRAIN_TIMEOUT": "1s"})
    async with opened(rig) as first:
        await rig.produce([Record(b"%d" % n, partition=n) for n in range(4)])
        for record in await take(first, 4):
            record.settle()
        await first.confirm()
        async with opened(rig) as second:
            seen: dict[object, set[object]] = {first: set(), second: set()}

            async def read(source: Source) -> None:
                while True:
                    for record in await take(source, 1):
                        seen[source].add(record.value)
                        record.settle()

            reading = [asyncio.ensure_future(read(source)) for source in (first, second)]
            await until(lambda: "goes on without one" in caplog.text)
            for values in seen.values():
                values.clear()
            number = 4

            async def both() -> bool:
                nonlocal number
                await rig.produce([Record(b"%d" % n, partition=n % 4) for n in range(number, number + 4)])
                number += 4
                return bool(seen[first]) and bool(seen[second])

            await until(both)
            await until(lambda: len(seen[first] | seen[second]) == number - 4)
            for each in reading:
                each.cancel()
            await asyncio.wait(reading)
            assert first.problem is None
            assert second.problem is None


# -- topics that were made anew ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["earliest", "latest"])
async def test_a_topic_made_anew_while_it_is_read_is_read_from_its_beginning(
    kafka_address: str, client: str, start: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"PENSTOCK_KAFKA_METADATA_INTERVAL": "300ms", "PENSTOCK_KAFKA_DRAIN_TIMEOUT": "500ms"}
    rig = KafkaRig(kafka_address, client, partitions=1, start=start, settings=settings)
    async with opened(rig) as source:
        await rig.produce(plain(b"old 0", b"old 1", b"old 2"))
        before = await take(source, 3)
        for record in before[:2]:
            record.settle()
        await source.confirm()
        await rig.recreate()
        await rig.produce(plain(*(b"new %d" % number for number in range(5))))
        seen = await take(source, 5)
        assert [record.value for record in seen] == [b"new %d" % number for number in range(5)]
        assert {record.batch.partition.topic for record in seen} == {await in_thread(rig.identify)}
        assert not {record.batch.position(record.index) for record in seen} & {
            record.batch.position(record.index) for record in before
        }
        before[2].settle()
        for record in seen:
            record.settle()
        await source.confirm()
        assert await rig.confirmed() == 5
        assert source.problem is None
    assert "was deleted and made anew" in caplog.text


async def test_a_topic_made_anew_while_nobody_reads_it_is_read_from_its_beginning(
    kafka_address: str, client: str, caplog: pytest.LogCaptureFixture
) -> None:
    rig = KafkaRig(kafka_address, client, partitions=1)
    await rig.produce(plain(b"old 0", b"old 1", b"old 2"))
    async with opened(rig) as source:
        for record in await take(source, 3):
            record.settle()
        await source.confirm()
        kept = (await rig.committed())[0]
    await rig.recreate()
    await rig.produce(plain(*(b"new %d" % number for number in range(5))))
    # Brokers forget commits of a deleted topic, unless the commit comes after it.
    await rig.commit({0: (kept.offset, kept.metadata)})
    async with opened(rig) as source:
        seen = await take(source, 5)
        assert [record.value for record in seen] == [b"new %d" % number for number in range(5)]
        for record in seen:
            record.settle()
        await source.confirm()
        assert await rig.confirmed() == 5
    assert "the commit 3 of the old one is void" in caplog.text


async def test_both_clients_call_a_topic_by_one_identity(kafka_address: str) -> None:
    """Whatever digits it has: a change of the client is no change of the topic."""
    made = [KafkaRig(kafka_address, "confluent", partitions=1) for _ in range(12)]
    identities = [await in_thread(rig.identify) for rig in made]
    rig, identity = max(zip(made, identities, strict=True), key=lambda one: bool({"-", "_"} & set(one[1])))
    for client in CLIENTS:
        rig.variables["PENSTOCK_KAFKA_CLIENT"] = client
        async with opened(rig) as source:
            await rig.produce(plain(b"0"))
            assert (await take(source, 1))[0].batch.partition.topic == identity


async def test_a_commit_beyond_the_end_is_told(
    kafka_address: str, client: str, caplog: pytest.LogCaptureFixture
) -> None:
    rig = KafkaRig(kafka_address, client, partitions=1)
    await rig.produce(plain(b"0", b"1"))
    await rig.commit({0: (1000, "")})
    async with opened(rig) as source:
        assert [record.value for record in await take(source, 2)] == [b"0", b"1"]
    assert "the commit 1000 is beyond the partition's end" in caplog.text


async def test_records_that_were_deleted_unread_are_told(
    kafka_address: str, client: str, caplog: pytest.LogCaptureFixture
) -> None:
    rig = KafkaRig(kafka_address, client, partitions=1)
    await rig.produce(plain(b"0", b"1", b"2"))
    await rig.commit({0: (1, "")})
    await in_thread(lambda: rig.delete_before(2))
    async with opened(rig) as source:
        assert [record.value for record in await take(source, 1)] == [b"2"]
    assert "offsets 1 to 1 were deleted by the broker" in caplog.text


# -- gaps --------------------------------------------------------------------------------------------------------------


async def test_offsets_have_gaps(kafka_address: str, client: str) -> None:
    """Transaction markers take offsets, and what was aborted is not seen."""
    rig = KafkaRig(kafka_address, client)
    await in_thread(lambda: transactions(rig))
    async with opened(rig) as source:
        await rig.produce(plain(b"last"))
        taken = await take(source, 5)
        assert [record.value for record in taken] == [b"a0", b"a1", b"c0", b"c1", b"last"]
        for record in taken[:3]:
            record.settle()
        await source.confirm()
        # a0 a1 marker b0 b1 marker c0
        assert await rig.confirmed() == 7
    async with opened(rig) as source:
        again = await take(source, 2)
        assert [record.value for record in again] == [b"c1", b"last"]


def transactions(rig: KafkaRig) -> None:
    """Write a0 a1, b0 b1 and c0 c1 in one transaction each, and abort that of b."""
    config = {"bootstrap.servers": rig.address, "transactional.id": rig.to}
    producer = ck.Producer(config)
    producer.init_transactions(PATIENCE)
    for name in (b"a", b"b", b"c"):
        producer.begin_transaction()
        for number in (b"0", b"1"):
            producer.produce(rig.to, name + number, partition=0)
        # What is aborted before it was sent leaves no trace.
        producer.flush(PATIENCE)
        if name == b"b":
            producer.abort_transaction(PATIENCE)
        else:
            producer.commit_transaction(PATIENCE)


# -- refusals ----------------------------------------------------------------------------------------------------------


async def test_what_no_broker_takes_is_refused_alone(rig: KafkaRig) -> None:
    site = rig.site()
    sink, ledger = rig.endpoint.sink(site), Ledger()
    await sink.open(ledger.settled)
    large = Message(rig.to, b"x" * 20_000_000, id="large")
    nowhere = Message("no such/topic", b"{}", id="nowhere")
    sink.send([Message(rig.to, b"1", id="first"), large, nowhere, Message(rig.to, b"2", id="last")])
    async with asyncio.timeout(PATIENCE):
        await sink.flush()
    assert ledger.outcomes["first"] == ledger.outcomes["last"] == [None]
    for refused in ("large", "nowhere"):
        [outcome] = ledger.outcomes[refused]
        assert isinstance(outcome, Undeliverable), (refused, outcome)
    await sink.close()
    await site.close()
    assert {record.value for record in await rig.received(2)} == {b"1", b"2"}


async def test_what_is_too_large_for_its_topic_is_refused_alone(kafka_address: str, client: str) -> None:
    """The broker refuses whole batches: the innocent of one arrive all the same, once, in order."""
    rig = KafkaRig(kafka_address, client, partitions=1, config={"max.message.bytes": "20000"})
    site = rig.site()
    sink, ledger = rig.endpoint.sink(site), Ledger()
    await sink.open(ledger.settled)
    fillings = [b"%d " % number + bytes(1000) for number in range(60)]
    messages = [
        Message(rig.to, value, b"k", id=str(number), time=number + 1.0) for number, value in enumerate(fillings)
    ]
    messages.insert(30, Message(rig.to, bytes(30_000), b"k", id="large", time=30.5))
    sink.send(messages)
    async with asyncio.timeout(PATIENCE):
        await sink.flush()
    assert [name for name, found in ledger.outcomes.items() if found != [None]] == ["large"]
    [refused] = ledger.outcomes["large"]
    assert isinstance(refused, Undeliverable)
    await sink.close()
    await site.close()
    assert [(record.value or b"").split(b" ")[0] for record in await rig.received(60)] == [
        one.split(b" ")[0] for one in fillings
    ]
    await rig.close()


class Raw(str):
    """A header's name that goes over the wire as bytes which are no text."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"\xff\xfe"


async def test_a_header_whose_name_is_no_text_does_not_end_its_partition(rig: KafkaRig, client: str) -> None:
    """Neither client reads it, and each would stop there for ever."""

    def produce() -> None:
        producer = library("kafka").KafkaProducer(bootstrap_servers=rig.address)
        for number in range(3):
            headers = [(Raw("name"), b"1")] if number == 1 else []
            producer.send(rig.to, str(number).encode(), headers=headers, partition=0)
        producer.flush()
        producer.close()

    await in_thread(produce)
    seen: dict[object, object] = {}
    async with opened(rig) as source, asyncio.timeout(PATIENCE):
        while len(seen) < 3:
            for batch in await source.receive():
                for index in range(len(batch)):
                    seen[batch.event(index).data] = batch.values[index]
                    batch.settle(index)
    assert (seen[b"0"], seen[b"2"]) == (b"0", b"2")
    assert isinstance(seen[b"1"], BadEvent) if client == "confluent" else seen[b"1"] == b"1"


# -- authentication ----------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded_kafka() -> Iterator[Server]:
    """A broker that wants to know who is there."""
    server = Server()
    login = 'required username="admin" password="secret" user_admin="secret" user_app="open sesame";'
    server.settings |= {
        "listeners": f"SASL_PLAINTEXT://127.0.0.1:{server.port},CONTROLLER://127.0.0.1:{server.controller_port}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
        "inter.broker.listener.name": "SASL_PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": (
            f"org.apache.kafka.common.security.plain.PlainLoginModule {login}"
        ),
    }
    with server:
        yield server


@pytest.mark.slow
async def test_the_password_opens_and_a_wrong_one_is_a_mistake_of_the_settings(guarded_kafka: Server) -> None:
    for client in CLIENTS:
        variables = {
            "PENSTOCK_KAFKA": guarded_kafka.address,
            "PENSTOCK_KAFKA_CLIENT": client,
            "PENSTOCK_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "PENSTOCK_KAFKA_SASL_USERNAME": "app",
        }
        endpoint = Kafka("guarded", start="earliest")
        site = Site(Settings({**variables, "PENSTOCK_KAFKA_SASL_PASSWORD": "open sesame"}), pipeline=client)
        source, sink, ledger = endpoint.source(site), endpoint.sink(site), Ledger()
        await source.open()
        await sink.open(ledger.settled)
        sink.send([Message("guarded", b"1", id="1")])
        record = (await take(source, 1))[0]
        assert record.value == b"1"
        await sink.close()
        await source.close()
        await site.close()
        wrong = Site(Settings({**variables, "PENSTOCK_KAFKA_SASL_PASSWORD": "open barley"}), pipeline=client)
        # kafka-python loses the broker's answer with the connection, more often than not.
        refused = ConfigError if client == "confluent" else (ConfigError, Unavailable)
        with pytest.raises(refused, match=r"(?i)authentication|password"):
            await endpoint.source(wrong).open()
        with pytest.raises(refused, match=r"(?i)authentication|password"):
            await endpoint.sink(wrong).open(ledger.settled)
        await wrong.close()
