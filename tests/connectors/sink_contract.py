"""What every sink keeps to. Inherit the class that fits, and give it a fixture `rig`.

- `SinkContract`: all of them.
- `KeyedSinkContract`: messages have keys, order by key, and tombstones.
- `SinkOutageContract`: the server goes and comes back.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from penstock.connectors import Message, Sink
from penstock.errors import Unavailable
from tests.connectors.rig import PATIENCE, Ledger, SinkOutageRig, SinkRig, patiently, until

TIME = 1714564800.25


def message(to: str, number: int, *, key: bytes | None = None, value: bytes | None = b"") -> Message:
    """A message whose id and value are the number."""
    return Message(
        to,
        b"%d" % number if value == b"" else value,
        key=key,
        id=str(number),
        source="/pipelines/demo",
        type="decided",
        time=TIME,
    )


@asynccontextmanager
async def opened(rig: SinkRig) -> AsyncIterator[tuple[Sink, Ledger]]:
    """The rig's sink in a process of its own, that leaves at the end."""
    site = rig.site()
    sink, ledger = rig.endpoint.sink(site), Ledger()
    await patiently(lambda: sink.open(ledger.settled))
    try:
        yield sink, ledger
    finally:
        async with asyncio.timeout(PATIENCE):
            await sink.close()
            await site.close()


async def flushed(sink: Sink) -> None:
    async with asyncio.timeout(PATIENCE):
        await sink.flush()


class SinkContract:
    """What holds for every sink."""

    async def test_every_message_settles_exactly_once(self, rig: SinkRig) -> None:
        async with opened(rig) as (sink, ledger):
            for start in range(0, 1000, 50):
                sink.send([message(rig.to, number) for number in range(start, start + 50)])
                await asyncio.sleep(0)
            await flushed(sink)
            assert ledger.once(1000)
            assert ledger.threads == {threading.get_ident()}
            received = await rig.received(1000)
            assert sorted(int(record.value or b"") for record in received) == list(range(1000))
        assert ledger.once(1000), "nothing settles again at close"

    async def test_settled_is_not_called_from_within_send(self, rig: SinkRig) -> None:
        async with opened(rig) as (sink, ledger):
            sink.send([message(rig.to, 1)])
            assert not ledger.outcomes
            await flushed(sink)
            assert ledger.once(1)

    async def test_one_message_alone_settles_without_a_flush(self, rig: SinkRig) -> None:
        async with opened(rig) as (sink, ledger):
            for number in range(3):
                sink.send([message(rig.to, number)])
                await until(lambda: ledger.once(number + 1))  # noqa: B023 - awaited here

    async def test_attributes_and_headers_arrive(self, rig: SinkRig) -> None:
        sent = Message(
            rig.to,
            b'{"n": 1}',
            key=b"card-1",
            headers={"tenant": "blue"},
            id="7f1b",
            source="/pipelines/demo",
            type="payment.refused",
            subject="card-1",
            time=TIME,
        )
        async with opened(rig) as (sink, ledger):
            sink.send([sent])
            await flushed(sink)
            assert ledger.once(1)
            [record] = await rig.received(1)
            assert record.value == b'{"n": 1}'
            attributes = {
                "specversion": "1.0",
                "id": "7f1b",
                "source": "/pipelines/demo",
                "type": "payment.refused",
                "subject": "card-1",
            }
            assert record.headers.items() >= rig.binary(attributes).items()
            [time] = rig.binary({"time": ""})
            assert record.headers[time].startswith("2024-05-01T12:00:00.25")
            assert record.headers["content-type"] == "application/json"
            assert record.headers["tenant"] == "blue"

    async def test_flush_waits_for_all_that_was_taken(self, rig: SinkRig) -> None:
        async with opened(rig) as (sink, ledger):
            await flushed(sink)
            sink.send([])
            await flushed(sink)
            sink.send([message(rig.to, number) for number in range(200)])
            await flushed(sink)
            assert ledger.once(200)

    async def test_close_flushes_and_may_be_repeated(self, rig: SinkRig) -> None:
        site = rig.site()
        never = rig.endpoint.sink(site)
        await never.close()
        sink, ledger = rig.endpoint.sink(site), Ledger()
        await sink.open(ledger.settled)
        sink.send([message(rig.to, number) for number in range(100)])
        async with asyncio.timeout(PATIENCE):
            await sink.close()
            assert ledger.once(100)
            await sink.close()
            await site.close()
        assert len(await rig.received(100)) == 100

    async def test_two_sinks_of_one_process_settle_their_own(self, rig: SinkRig) -> None:
        site = rig.site()
        pairs = [(rig.endpoint.sink(site), Ledger()) for _ in range(2)]
        for sink, ledger in pairs:
            await sink.open(ledger.settled)
        for number, (sink, _) in enumerate(pairs):
            sink.send([message(rig.to, number * 100 + each) for each in range(100)])
        await flushed(pairs[0][0])
        await pairs[0][0].close()
        await flushed(pairs[1][0])
        assert pairs[0][1].once(100)
        assert pairs[1][1].once(100)
        await pairs[1][0].close()
        await site.close()

    async def test_it_says_that_it_is_well(self, rig: SinkRig) -> None:
        async with opened(rig) as (sink, _):
            sink.send([message(rig.to, 1)])
            await flushed(sink)
            assert sink.problem is None


class KeyedSinkContract(SinkContract):
    """What holds where messages have keys."""

    async def test_order_is_kept_by_key(self, rig: SinkRig) -> None:
        async with opened(rig) as (sink, ledger):
            assert sink.ordered
            for start in range(0, 700, 7):
                keyed = [message(rig.to, number, key=b"k%d" % (number % 7)) for number in range(start, start + 7)]
                sink.send(keyed)
            await flushed(sink)
            assert ledger.once(700)
            received = await rig.received(700)
            for number in range(7):
                values = [int(record.value or b"") for record in received if record.key == b"k%d" % number]
                assert values == list(range(number, 700, 7))
            places: dict[bytes | None, set[int]] = {}
            for record in received:
                places.setdefault(record.key, set()).add(record.partition)
            assert all(len(partitions) == 1 for partitions in places.values()), "a key stays in its partition"

    async def test_a_tombstone_has_a_key_and_no_value(self, rig: SinkRig) -> None:
        async with opened(rig) as (sink, ledger):
            sink.send([message(rig.to, 1, key=b"card-1", value=None), message(rig.to, 2, key=b"card-1")])
            await flushed(sink)
            assert ledger.once(2)
            assert [(record.key, record.value) for record in await rig.received(2)] == [
                (b"card-1", None),
                (b"card-1", b"2"),
            ]


class SinkOutageContract:
    """What holds when the server goes away. The rig's server is its own."""

    async def test_opening_without_a_server_says_so(self, rig: SinkOutageRig) -> None:
        await rig.down()
        site = rig.site()
        sink, ledger = rig.endpoint.sink(site), Ledger()
        with pytest.raises(Unavailable):
            async with asyncio.timeout(PATIENCE):
                await sink.open(ledger.settled)
        await rig.up()
        await patiently(lambda: sink.open(ledger.settled))
        sink.send([message(rig.to, 1)])
        await flushed(sink)
        assert ledger.once(1)
        await sink.close()
        await site.close()

    async def test_what_is_sent_meanwhile_arrives_when_the_server_is_back(self, rig: SinkOutageRig) -> None:
        """An outage is `Unavailable` for the messages, which are sent again, or a wait; never anything final."""
        async with opened(rig) as (sink, ledger):
            sink.send([message(rig.to, number) for number in range(20)])
            await flushed(sink)
            await rig.down()
            sink.send([message(rig.to, number) for number in range(20, 40)])
            await until(lambda: sink.problem is not None or bool(ledger.failed))
            await rig.up()

            async def confirmed() -> bool:
                again, ledger.failed = ledger.failed, []
                assert all(isinstance(ledger.outcomes[each.id][-1], Unavailable) for each in again)
                sink.send(again)
                return len(ledger.confirmed()) == 40

            await until(confirmed)
            values = {int(record.value or b"") for record in await rig.received(40)}
            assert values == set(range(40))
            await until(lambda: sink.problem is None)
