"""What every source keeps to. Inherit the class that fits, and give it a fixture `rig`.

- `SourceContract`: all of them.
- `RedeliveryContract`: what was not finished comes again to the next process.
- `SourceOutageContract`: the server goes and comes back.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AbstractAsyncContextManager

import pytest

from penstock.connectors import Source
from penstock.errors import BadEvent, Unavailable
from tests.connectors.rig import (
    PATIENCE,
    Record,
    SourceOutageRig,
    SourceRig,
    Taken,
    patiently,
    reading,
    take,
    until,
)

PLAIN = {"content-type": "application/json"}


STRUCTURED = {"content-type": "application/cloudevents+json"}


ATTRIBUTES = {
    "specversion": "1.0",
    "id": "7f1b",
    "source": "/terminals/9",
    "type": "payment.made",
    "subject": "card-1",
    "time": "2024-05-01T12:00:00.250Z",
}


TIME = 1714564800.25


def plain(*values: bytes, partition: int = 0) -> list[Record]:
    return [Record(value, headers=PLAIN, partition=partition) for value in values]


def numbers(count: int) -> list[bytes]:
    """Payloads that are JSON, distinct and sortable."""
    return [b"%d" % number for number in range(count)]


def opened(rig: SourceRig) -> AbstractAsyncContextManager[Source]:
    """The rig's source in a process of its own, that leaves at the end."""
    return reading(rig.endpoint, rig.site())


class SourceContract:
    """What holds for every source."""

    async def test_values_arrive_in_order(self, rig: SourceRig) -> None:
        async with opened(rig) as source:
            await rig.produce(plain(*numbers(50)))
            taken = await take(source, 50)
            assert [record.value for record in taken] == numbers(50)
            for record in taken:
                record.settle()

    async def test_one_record_alone_is_handed_over_at_once(self, rig: SourceRig) -> None:
        async with opened(rig) as source:
            for value in numbers(3):
                await rig.produce(plain(value))
                taken = await take(source, 1)
                assert [record.value for record in taken] == [value]
                taken[0].settle()

    async def test_a_plain_record_has_an_identity(self, rig: SourceRig) -> None:
        async with opened(rig) as source:
            await rig.produce(plain(b'{"n": 1}', b'{"n": 2}'))
            taken = await take(source, 2)
            events = [record.event for record in taken]
            assert [event.data for event in events] == [b'{"n": 1}', b'{"n": 2}']
            assert all(event.id and event.topic for event in events)
            assert events[0].id != events[1].id
            assert len({record.batch.position(record.index) for record in taken}) == 2
            for record in taken:
                record.settle()

    async def test_a_binary_cloudevent_keeps_its_attributes(self, rig: SourceRig) -> None:
        headers = {**PLAIN, **rig.binary({**ATTRIBUTES, "traceparent": "00-ab-cd-01"}), "tenant": "blue"}
        async with opened(rig) as source:
            await rig.produce([Record(b'{"n": 1}', headers=headers)])
            [record] = await take(source, 1)
            assert record.value == b'{"n": 1}'
            self.check(record)
            assert record.event.headers["tenant"] == "blue"
            assert record.event.headers["traceparent"] == "00-ab-cd-01"
            record.settle()

    async def test_a_structured_cloudevent_is_unwrapped(self, rig: SourceRig) -> None:
        envelope = json.dumps({**ATTRIBUTES, "datacontenttype": "application/json", "data": {"n": 1}}).encode()
        async with opened(rig) as source:
            await rig.produce([Record(envelope, headers=STRUCTURED)])
            [record] = await take(source, 1)
            assert isinstance(record.value, bytes)
            assert json.loads(record.value) == {"n": 1}
            self.check(record)
            record.settle()

    def check(self, record: Taken) -> None:
        event = record.event
        assert (event.id, event.source, event.type, event.subject, event.time) == (
            ATTRIBUTES["id"],
            ATTRIBUTES["source"],
            ATTRIBUTES["type"],
            ATTRIBUTES["subject"],
            TIME,
        )

    async def test_an_unreadable_envelope_is_handed_over_as_such(self, rig: SourceRig) -> None:
        async with opened(rig) as source:
            await rig.produce([*plain(b"1"), Record(b'{"specversion": ', headers=STRUCTURED), *plain(b"3")])
            taken = await take(source, 3)
            assert [taken[0].value, taken[2].value] == [b"1", b"3"]
            assert isinstance(taken[1].value, BadEvent)
            assert taken[1].event.data == b'{"specversion": ', "the original bytes are kept"
            for record in taken:
                record.settle()

    async def test_what_is_not_received_waits(self, rig: SourceRig) -> None:
        """Backpressure: more than any buffer holds arrives while nobody asks; then all of it comes, once."""
        async with opened(rig) as source:
            await rig.produce(plain(*numbers(5000)))
            seen: list[object] = []
            while len(seen) < 5000:
                taken = await take(source, 1)
                seen += [record.value for record in taken]
                for record in taken:
                    record.settle()
            assert seen == numbers(5000)

    async def test_a_cancelled_receive_loses_nothing(self, rig: SourceRig) -> None:
        async with opened(rig) as source:
            for value in numbers(20):
                receiving = asyncio.ensure_future(source.receive())
                await asyncio.sleep(0)
                producing = asyncio.ensure_future(rig.produce(plain(value)))
                await asyncio.sleep(0)
                receiving.cancel()
                await asyncio.wait([receiving])
                await producing
                taken = await take(source, 1) if receiving.cancelled() else _all(receiving.result())
                assert [record.value for record in taken] == [value]
                taken[0].settle()

    async def test_stop_ends_a_pending_receive(self, rig: SourceRig) -> None:
        async with opened(rig) as source:
            receiving = asyncio.ensure_future(source.receive())
            await asyncio.sleep(0)
            source.stop()
            async with asyncio.timeout(PATIENCE):
                assert list(await receiving) == []
                assert list(await source.receive()) == []
            source.stop()

    async def test_what_was_handed_over_finishes_after_stop(self, rig: SourceRig) -> None:
        async with opened(rig) as source:
            await rig.produce(plain(b"1"))
            [record] = await take(source, 1)
            source.stop()
            record.settle()
            async with asyncio.timeout(PATIENCE):
                await source.confirm()

    async def test_it_says_that_it_is_well(self, rig: SourceRig) -> None:
        async with opened(rig) as source:
            await rig.produce(plain(b"1"))
            [record] = await take(source, 1)
            assert source.problem is None
            assert source.lag() is None or isinstance(source.lag(), int)
            record.settle()

    async def test_closing_twice_and_closing_unopened(self, rig: SourceRig) -> None:
        site = rig.site()
        never = rig.endpoint.source(site)
        await never.close()
        source = rig.endpoint.source(site)
        await source.open()
        async with asyncio.timeout(PATIENCE):
            await source.close()
            await source.close()
        await site.close()


class RedeliveryContract(SourceContract):
    """What holds where the origin keeps a record until it is confirmed."""

    async def test_only_the_finished_prefix_is_confirmed(self, rig: SourceRig) -> None:
        async with opened(rig) as source:
            await rig.produce(plain(*numbers(10)))
            taken = await take(source, 10)
            for number in (0, 1, 2, 3, 7):
                taken[number].settle()
        async with opened(rig) as source:
            again = await take(source, 5)
            while again[-1].value != b"9":
                again += await take(source, 1)
            assert {record.value for record in again} >= set(numbers(10)[4:7] + numbers(10)[8:])
            assert not {record.value for record in again} & set(numbers(4))
            values = [record.value for record in again]
            assert values == [value for value in numbers(10) if value in values], "what comes again comes in order"
            for record in again:
                record.settle()

    async def test_all_finished_leaves_nothing(self, rig: SourceRig) -> None:
        async with opened(rig) as source:
            await rig.produce(plain(*numbers(5)))
            for record in await take(source, 5):
                record.settle()
            async with asyncio.timeout(PATIENCE):
                await source.confirm()
        async with opened(rig) as source:
            await rig.produce(plain(b"next"))
            [record] = await take(source, 1)
            assert record.value == b"next"
            record.settle()

    async def test_finishing_after_close_is_harmless(self, rig: SourceRig) -> None:
        async with opened(rig) as source:
            await rig.produce(plain(b"1"))
            [record] = await take(source, 1)
        record.settle()
        async with opened(rig) as source:
            [again] = await take(source, 1)
            assert again.value == b"1"
            again.settle()


class SourceOutageContract:
    """What holds when the server goes away. The rig's server is its own."""

    async def test_opening_without_a_server_says_so(self, rig: SourceOutageRig) -> None:
        await rig.down()
        site = rig.site()
        source = rig.endpoint.source(site)
        with pytest.raises(Unavailable):
            async with asyncio.timeout(PATIENCE):
                await source.open()
        await rig.up()
        await patiently(source.open)
        await rig.produce(plain(b"1"))
        [record] = await take(source, 1)
        record.settle()
        await source.close()
        await site.close()

    async def test_it_goes_on_by_itself_when_the_server_is_back(self, rig: SourceOutageRig) -> None:
        async with opened(rig) as source:
            await rig.produce(plain(*numbers(5)))
            before = await take(source, 5)
            await rig.down()
            await until(lambda: source.problem is not None)
            for record in before:
                record.settle()
            await rig.up()
            await rig.produce(plain(b"after"))
            values: list[object] = []
            while b"after" not in values:
                taken = await take(source, 1)
                values += [record.value for record in taken]
                for record in taken:
                    record.settle()
            assert set(values) <= {*numbers(5), b"after"}
            await until(lambda: source.problem is None)


def _all(batches: object) -> list[Taken]:
    assert isinstance(batches, list)
    return [Taken(batch, index) for batch in batches for index in range(len(batch))]
