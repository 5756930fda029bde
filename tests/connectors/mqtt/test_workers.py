"""Another number of workers than before, and several hosts: every message once, and none left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import pytest

from penstock.connectors import Settings, Site
from penstock.connectors.mqtt.source import MqttSource
from tests.connectors.mqtt.rig import MqttRig, OwnMqttRig
from tests.connectors.rig import Record, until
from tests.servers import Mosquitto


class Crew:
    """The workers of one pipeline on one host: opened together, and read to `values` as an engine would."""

    def __init__(self, rig: MqttRig, workers: int, host: str = "") -> None:
        settings = {"PENSTOCK_MQTT": rig.address, "PENSTOCK_WORKERS": str(workers), "PENSTOCK_HOST": host}
        self.rig = rig
        self.sites = [Site(Settings(settings), pipeline=f"crew-{rig.name}", worker=worker) for worker in range(workers)]
        self.sources: list[MqttSource] = []
        self.values: list[int] = []
        self.finishing = True
        self.readers: list[asyncio.Task[None]] = []

    async def open(self, workers: Sequence[int] | None = None) -> Crew:
        for site in self.sites if workers is None else [self.sites[worker] for worker in workers]:
            source = self.rig.endpoint.source(site)
            await source.open()
            self.sources.append(source)
            self.readers.append(asyncio.create_task(self._read(source)))
        return self

    async def _read(self, source: MqttSource) -> None:
        while batches := await source.receive():
            for batch in batches:
                self.values += [int(value) for value in batch.values]
                if self.finishing:
                    for index in range(len(batch)):
                        batch.settle(index)

    async def close(self) -> None:
        for source in self.sources:
            await source.close()
        await asyncio.gather(*self.readers)
        for site in self.sites:
            await site.close()
        self.sources.clear()


@pytest.fixture
async def exits() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def rig(mqtt_address: str) -> AsyncIterator[MqttRig]:
    rig = MqttRig(mqtt_address)
    yield rig
    await rig.close()


async def crew(exits: AsyncExitStack, rig: MqttRig, workers: int, host: str = "") -> Crew:
    made = Crew(rig, workers, host)
    exits.push_async_callback(made.close)
    return await made.open()


async def produce(rig: MqttRig, *numbers: int) -> None:
    await rig.produce([Record(b"%d" % number) for number in numbers])


async def ended(source: MqttSource, worker: int) -> bool:
    """Whether the broker knows nothing of a worker's session."""
    assert source._former is not None
    return not await source._former._make(worker).adopt(lambda _: None)


@pytest.mark.parametrize(("before", "after"), [(2, 1), (3, 2), (4, 1), (1, 2), (1, 1), (2, 3)])
async def test_another_number_of_workers(rig: MqttRig, exits: AsyncExitStack, before: int, after: int) -> None:
    first = await crew(exits, rig, before)
    await produce(rig, *range(20))
    await until(lambda: len(first.values) == 20)
    first.finishing = False
    await produce(rig, *range(20, 40))
    await until(lambda: len(first.values) == 40)
    await first.close()
    await produce(rig, *range(40, 60))
    second = await crew(exits, rig, after)
    await until(lambda: len(second.values) >= 40)
    await produce(rig, *range(60, 80))
    await until(lambda: len(second.values) >= 60)
    await produce(rig, 80)
    await until(lambda: 80 in second.values)
    assert sorted(second.values) == list(range(20, 81)), "what was not finished, what came meanwhile, and each once"
    if after < before:
        source = second.sources[0]
        former = source._former
        assert former is not None
        await until(lambda: not former._sources)
        await second.close()
        for worker in range(after, before):
            assert await ended(source, worker)


async def test_who_dies_while_taking_over_leaves_the_rest_to_the_next(rig: MqttRig, exits: AsyncExitStack) -> None:
    first = await crew(exits, rig, 3)
    first.finishing = False
    await produce(rig, *range(30))
    await until(lambda: len(first.values) == 30)
    await first.close()
    second = Crew(rig, 1)
    second.finishing = False
    await second.open()
    await until(lambda: len(second.values) == 30)
    await second.close()
    third = await crew(exits, rig, 1)
    await until(lambda: len(third.values) >= 30)
    assert sorted(third.values) == list(range(30))


async def test_two_hosts_share(rig: MqttRig, exits: AsyncExitStack) -> None:
    one, other = await crew(exits, rig, 1, "a"), await crew(exits, rig, 1, "b")
    await produce(rig, *range(50))
    await until(lambda: len(one.values) + len(other.values) >= 50)
    assert sorted(one.values + other.values) == list(range(50)) and one.values and other.values
    assert [source.problem for source in (*one.sources, *other.sources)] == [None, None]


async def test_hosts_without_names_are_told_to_have_some(rig: MqttRig, exits: AsyncExitStack) -> None:
    one, other = await crew(exits, rig, 1), await crew(exits, rig, 1)
    sources = [*one.sources, *other.sources]
    await until(lambda: any("give each its own PENSTOCK_HOST" in (source.problem or "") for source in sources))


async def test_a_broker_that_forgets_who_shares_is_told_again(own_mosquitto: Mosquitto, exits: AsyncExitStack) -> None:
    rig = OwnMqttRig(own_mosquitto)
    both = await crew(exits, rig, 2)
    await produce(rig, 0)
    await until(lambda: both.values == [0])
    for source in both.sources:  # else it may come again
        await source.confirm()
    await rig.down()
    await until(lambda: all(source.problem for source in both.sources))
    await rig.up()
    await until(lambda: not any(source.problem for source in both.sources))
    await produce(rig, *range(1, 41))
    await until(lambda: len(both.values) >= 41)
    assert sorted(both.values) == list(range(41))
    await rig.close()


async def test_a_worker_that_lives_has_its_session_back(
    rig: MqttRig, exits: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.connectors.mqtt.link.LONGEST", 0.2)
    alive = Crew(rig, 2)
    exits.push_async_callback(alive.close)
    await alive.open([1])
    fewer = await crew(exits, rig, 1)
    await until(lambda: alive.sources[0].problem is None)
    former = fewer.sources[0]._former
    assert former is not None
    await until(lambda: not former._sources)
    await produce(rig, *range(10))
    await until(lambda: set(alive.values + fewer.values) == set(range(10)))
