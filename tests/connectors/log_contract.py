"""What every source keeps to whose records have partitions, positions and keys. Inherit it, with a fixture `rig`."""

from __future__ import annotations

from tests.connectors.rig import (
    LogRig,
    Record,
    by_partition,
    take,
)
from tests.connectors.source_contract import PLAIN, RedeliveryContract, numbers, opened, plain


class LogContract(RedeliveryContract):
    """What holds where records have partitions, positions and keys."""

    async def test_nothing_is_confirmed_before_it_is_finished(self, rig: LogRig) -> None:
        async with opened(rig) as source:
            await rig.produce(plain(*numbers(4)))
            taken = await take(source, 4)
            for finished, prefix in ((None, 0), (1, 0), (0, 2), (3, 2), (2, 4)):
                if finished is not None:
                    taken[finished].settle()
                await source.confirm()
                assert await rig.confirmed() == prefix

    async def test_order_is_kept_within_each_partition(self, rig: LogRig) -> None:
        records = [Record(b"%d" % n, key=b"%d" % (n % 7), headers=PLAIN, partition=n % 2) for n in range(400)]
        async with opened(rig) as source:
            await rig.produce(records)
            taken = await take(source, 400)
            assert by_partition(taken) == {
                part: [record.value for record in records if record.partition == part] for part in (0, 1)
            }
            keys = {record.value: record.key for record in taken}
            assert keys == {record.value: record.key for record in records}
            for record in taken:
                record.settle()
            await source.confirm()
            assert await rig.confirmed() == 400

    async def test_each_partition_has_a_prefix_of_its_own(self, rig: LogRig) -> None:
        async with opened(rig) as source:
            await rig.produce(plain(b"a0", b"a1") + plain(b"b0", b"b1", b"b2", partition=1))
            for record in await take(source, 5):
                if record.value != b"a0":
                    record.settle()
            await source.confirm()
            assert await rig.confirmed() == 3
        async with opened(rig) as source:
            again = await take(source, 1)
            # A source that remembers what is finished above the prefix leaves that out.
            assert [record.value for record in again] in ([b"a0"], [b"a0", b"a1"])
            for record in again:
                record.settle()

    async def test_identity_is_the_place(self, rig: LogRig) -> None:
        async with opened(rig) as source:
            await rig.produce(plain(*numbers(3)) + plain(*numbers(2), partition=1))
            taken = await take(source, 5)
            places = {(record.batch.partition.number, record.value): record for record in taken}
            for partition, number in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1)):
                record = places[partition, b"%d" % number]
                assert record.event.id == rig.identity(partition, number)
        positions = {record.event.id: record.batch.position(record.index) for record in taken}
        first = [record.batch.position(record.index) for record in taken if record.batch.partition.number == 0]
        assert first == sorted(first)
        async with opened(rig) as source:
            again = await take(source, 5)
            assert {record.event.id: record.batch.position(record.index) for record in again} == positions
            for record in again:
                record.settle()

    async def test_places_are_lasting_and_the_floor_is_what_is_confirmed(self, rig: LogRig) -> None:
        async with opened(rig) as source:
            await rig.produce(plain(*numbers(12)) + plain(*numbers(3), partition=1))
            taken = await take(source, 15)
            by_origin: dict[str, list[str]] = {}
            for record in taken:
                by_origin.setdefault(record.batch.origin(record.index), []).append(record.batch.place(record.index))
            assert sorted(map(len, by_origin.values())) == [3, 12], "an origin is a partition"
            places = next(found for found in by_origin.values() if len(found) == 12)
            assert places == sorted(set(places))
            assert len({len(place) for place in places}) == 1
            assert set("".join(places)) <= set("0123456789-")
            first = [record for record in taken if record.batch.partition.number == 0]
            assert first[0].batch.floor() <= places[0]
            for record in first[:10]:
                record.settle()
            await source.confirm()
            assert places[9] < first[0].batch.floor() <= places[10]
        async with opened(rig) as source:
            again = [record for record in await take(source, 5) if record.batch.partition.number == 0]
            assert [record.batch.place(record.index) for record in again] == places[10:]
            assert {record.batch.origin(record.index) for record in again} == {first[0].batch.origin(0)}
            assert all(record.batch.floor() <= places[10] for record in again)

    async def test_keys_headers_and_missing_values(self, rig: LogRig) -> None:
        async with opened(rig) as source:
            await rig.produce(
                [
                    Record(b"1", key=b"card-1", headers={**PLAIN, "tenant": "blue"}),
                    Record(None, key=b"card-2"),
                    Record(b"3", headers=PLAIN),
                ]
            )
            taken = await take(source, 3)
            assert [(record.value, record.key) for record in taken] == [
                (b"1", b"card-1"),
                (None, b"card-2"),
                (b"3", None),
            ]
            assert [record.event.key for record in taken] == ["card-1", "card-2", ""]
            assert taken[0].event.headers["tenant"] == "blue"
            assert "tenant" not in taken[1].event.headers
            for record in taken:
                record.settle()

    async def test_finishing_in_runs(self, rig: LogRig) -> None:
        async with opened(rig) as source:
            await rig.produce(plain(*numbers(3000)))
            seen = 0
            while seen < 3000:
                for batch in await source.receive():
                    batch.taken = len(batch)
                    batch.settle_run(0, len(batch))
                    seen += len(batch)
            await source.confirm()
            assert await rig.confirmed() == seen == 3000
