"""MQTT topics as sources, at a real Mosquitto."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from penstock.connectors import Settings, Site, Source
from penstock.connectors.cloudevents.modes import BATCH
from penstock.connectors.mqtt.endpoint import Mqtt
from penstock.errors import BadEvent
from tests.connectors.contract import RedeliveryContract, SourceOutageContract
from tests.connectors.mqtt.rig import MqttRig, OwnMqttRig
from tests.connectors.rig import PATIENCE, Record, Taken, reading, take, until
from tests.servers import Mosquitto
from tests.servers.tools import program


class TestMqttSource(RedeliveryContract):
    @pytest.fixture
    async def rig(self, mqtt_address: str) -> AsyncIterator[MqttRig]:
        rig = MqttRig(mqtt_address)
        yield rig
        await rig.close()


class TestMqttSourceOutage(SourceOutageContract):
    @pytest.fixture
    async def rig(self, own_mosquitto: Mosquitto) -> AsyncIterator[OwnMqttRig]:
        rig = OwnMqttRig(own_mosquitto)
        yield rig
        await rig.close()


async def foreign(rig: MqttRig, topic: str, value: str, *options: str) -> None:
    """Publish with Mosquitto's own client."""
    command = [
        program("mosquitto_pub", package="mosquitto-clients"),
        "-h",
        rig.outsider.host,
        "-p",
        str(rig.outsider.port),
    ]
    process = await asyncio.create_subprocess_exec(*command, "-q", "1", "-t", topic, "-m", value, *options)
    assert await process.wait() == 0


class TestWhatArrives:
    async def test_a_foreign_client_and_captures(self, rig: MqttRig) -> None:
        base = f"plants/{rig.name}"
        async with reading(Mqtt(base + "/{plant}/machines/{machine}"), rig.site()) as source:
            await foreign(rig, f"{base}/p1/machines/m 7", '{"n": 1}')
            [taken] = await take(source, 1)
            assert taken.value == b'{"n": 1}'
            assert taken.batch.captures == [{"plant": "p1", "machine": "m 7"}]
            assert taken.batch.partition.name == base + "/{plant}/machines/{machine}"
            assert taken.event.topic == f"{base}/p1/machines/m 7"
            assert taken.event.source == f"mqtt:{base}/p1/machines/m 7"
            taken.settle()

    async def test_a_foreign_client_with_cloudevents_properties(self, rig: MqttRig) -> None:
        async with reading(rig.endpoint, rig.site()) as source:
            said = {"specversion": "1.0", "id": "e1", "source": "/a", "type": "t", "partitionkey": "card-1"}
            options = [word for name, value in said.items() for word in ("-D", "publish", "user-property", name, value)]
            await foreign(rig, rig.to, "{}", "-V", "mqttv5", *options)
            [taken] = await take(source, 1)
            assert (taken.event.id, taken.event.source, taken.event.key) == ("e1", "/a", "card-1")
            assert taken.key == b"card-1"
            taken.settle()

    async def test_wildcards(self, rig: MqttRig) -> None:
        base = f"any/{rig.name}"
        async with reading(Mqtt(base + "/+/x/#"), rig.site()) as source:
            for topic in ("a/x", "a/y", "b/x/1/2"):
                await foreign(rig, f"{base}/{topic}", topic)
            taken = await take(source, 2)
            assert [record.value for record in taken] == [b"a/x", b"b/x/1/2"]
            assert taken[0].batch.captures is None
            for record in taken:
                record.settle()

    async def test_an_empty_level_fills_no_field(self, rig: MqttRig) -> None:
        base = f"empty/{rig.name}"
        async with reading(Mqtt(base + "/{card}"), rig.site()) as source:
            await foreign(rig, base + "/", "{}")
            [taken] = await take(source, 1)
            assert isinstance(taken.value, BadEvent) and "empty" in taken.value.reason
            assert taken.event.data == b"{}"
            taken.settle()

    async def test_a_retained_message_says_so_and_comes_once(self, rig: MqttRig) -> None:
        await foreign(rig, rig.to, "1", "--retain")
        for expected in ([b"1", b"2"], [b"3"]):
            async with reading(rig.endpoint, rig.site()) as source:
                await foreign(rig, rig.to, expected[-1].decode())
                taken = await take(source, len(expected))
                assert [record.value for record in taken] == expected
                assert [record.event.headers.get("mqtt-retain") for record in taken] == ["true", None][-len(expected) :]
                for record in taken:
                    record.settle()
        await foreign(rig, rig.to, "", "--retain")

    async def test_bad_cloudevents_are_handed_over_as_such(self, rig: MqttRig) -> None:
        good = {"specversion": "1.0", "id": "1", "source": "/a", "type": "t"}
        bad = [{**good, "specversion": "0.3"}, {**good, "id": ""}, {**good, "time": "now"}]
        async with reading(rig.endpoint, rig.site()) as source:
            await rig.produce([Record(b"{}", headers=headers) for headers in bad])
            await rig.produce([Record(b"[]", headers={"content-type": BATCH})])
            await rig.produce([Record(b"\xff\xfe"), Record(b"x" * 2_000_000), Record(None)])
            taken = await take(source, 7)
            assert all(isinstance(record.value, BadEvent) for record in taken[:4])
            assert [record.event.data for record in taken[:4]] == [b"{}", b"{}", b"{}", b"[]"]
            assert [record.value for record in taken[4:]] == [b"\xff\xfe", b"x" * 2_000_000, b""]
            for record in taken:
                record.settle()

    async def test_a_text_that_paho_refuses_arrives(self, rig: MqttRig) -> None:
        headers = {"specversion": "1.0", "id": "\ufeff1", "source": "/a", "type": "t", "note": "\ufeffwhole"}
        async with reading(rig.endpoint, rig.site()) as source:
            await rig.produce([Record(b"{}", headers={**headers, "content-type": "\ufefftext/plain"}), Record(b"2")])
            first, second = await take(source, 2)
            assert (first.value, first.event.id, first.event.headers["note"]) == (b"{}", "\ufeff1", "\ufeffwhole")
            assert first.event.headers["content-type"] == "\ufefftext/plain"
            assert second.value == b"2"
            first.settle()
            second.settle()

    async def test_qos_0_arrives_and_needs_no_answer(self, rig: MqttRig) -> None:
        async with reading(rig.endpoint, rig.site()) as source:
            await foreign(rig, rig.to, "1", "-q", "0")
            await foreign(rig, rig.to, "2")
            for record in await take(source, 2):
                record.settle()
            await source.confirm()


class TestConfirming:
    async def test_receive_maximum_is_the_backpressure(self, mqtt_address: str) -> None:
        rig = MqttRig(mqtt_address + "?receive_maximum=10")
        async with reading(rig.endpoint, rig.site()) as source:
            await rig.produce([Record(b"%d" % number) for number in range(100)])
            taken = await take(source, 10)
            assert len(taken) == 10, "the broker waits for us"
            while True:
                for record in reversed(taken):
                    record.settle()
                if taken[-1].value == b"99":
                    break
                taken += await take(source, 1)
            assert [record.value for record in taken] == [b"%d" % number for number in range(100)]

    async def test_what_needs_no_answer_is_not_read_without_end(self, mqtt_address: str) -> None:
        """QoS 0 knows no Receive Maximum: while the engine does not receive, the socket is left alone."""
        rig = MqttRig(mqtt_address + "?receive_maximum=10")
        values = [b"%05d" % number for number in range(5000)]
        async with reading(rig.endpoint, rig.site()) as source:
            client = await asyncio.to_thread(rig.outsider.client)
            published = [client.publish(rig.to, value, 0) for value in values]
            await asyncio.to_thread(published[-1].wait_for_publish, PATIENCE)
            seen = [batch.values[index] for batch in await source.receive() for index in range(len(batch))]
            assert len(seen) < 1000
            while len(seen) < 5000:
                taken = await take(source, 1)
                seen += [record.value for record in taken]
                for record in taken:
                    record.settle()
            assert seen == values
            client.disconnect()
            client.loop_stop()

    async def test_what_runs_when_the_connection_breaks_does_not_run_twice(self, own_mosquitto: Mosquitto) -> None:
        rig = OwnMqttRig(own_mosquitto)
        async with reading(rig.endpoint, rig.site()) as source:
            await rig.produce([Record(b"%d" % number) for number in range(5)])
            taken = await take(source, 5)
            taken[3].settle()
            await rig.down()
            await until(lambda: source.problem is not None)
            taken[1].settle()
            await rig.up()
            await until(lambda: source.problem is None)
            for number in (0, 2, 4):
                taken[number].settle()
            await rig.produce([Record(b"after")])
            [after] = await take(source, 1)
            assert after.value == b"after", "none of the five came again"
            after.settle()
        async with reading(rig.endpoint, rig.site()) as source:
            await rig.produce([Record(b"last")])
            [last] = await take(source, 1)
            assert last.value == b"last", "all of them were acknowledged on the new connection"
            last.settle()
        await rig.close()

    async def test_a_broker_that_forgot_the_session_is_subscribed_again(self, own_mosquitto: Mosquitto) -> None:
        rig = OwnMqttRig(own_mosquitto)
        async with reading(rig.endpoint, rig.site()) as source:
            await rig.produce([Record(b"1")])
            [first] = await take(source, 1)
            await rig.down()
            (own_mosquitto.folder / "mosquitto.db").unlink()
            await rig.up()
            await until(lambda: source.problem is None)
            first.settle()

            async def arrived() -> bool:
                await rig.produce([Record(b"again")])
                receiving = asyncio.ensure_future(source.receive())
                done, _ = await asyncio.wait([receiving], timeout=0.2)
                receiving.cancel()
                return bool(done)

            await until(arrived)
        await rig.close()

    async def test_a_broker_that_falls_silent_is_noticed(self, own_mosquitto: Mosquitto) -> None:
        rig = OwnMqttRig(own_mosquitto)
        site = Site(Settings({"PENSTOCK_MQTT": rig.address + "?keepalive=1"}), pipeline="silence")
        async with reading(rig.endpoint, site) as source:
            own_mosquitto.pause()
            await until(lambda: source.problem is not None)
            own_mosquitto.resume()
            await until(lambda: source.problem is None)
            await rig.produce([Record(b"1")])
            [taken] = await take(source, 1)
            taken.settle()
        await rig.close()

    async def test_a_second_process_under_our_name_is_named(self, rig: MqttRig) -> None:
        async with reading(rig.endpoint, rig.site()) as first, reading(rig.endpoint, rig.site()) as second:
            await until(lambda: "is another process connected as" in f"{first.problem} {second.problem}")

    async def test_workers_share_a_topic(self, rig: MqttRig) -> None:
        settings = Settings({"PENSTOCK_MQTT": rig.address, "PENSTOCK_WORKERS": "2"})
        sites = [Site(settings, pipeline=f"shared-{rig.name}", worker=worker) for worker in (0, 1)]
        async with reading(rig.endpoint, sites[0]) as one, reading(rig.endpoint, sites[1]) as other:
            await rig.produce([Record(b"%d" % number) for number in range(100)])
            taken: list[Taken] = []

            async def drain(source: Source) -> None:
                while len(taken) < 100:
                    for batch in await source.receive():
                        taken.extend(Taken(batch, index) for index in range(len(batch)))
                        for index in range(len(batch)):
                            batch.settle(index)

            draining = [asyncio.create_task(drain(source)) for source in (one, other)]
            await until(lambda: len(taken) >= 100)
            for task in draining:
                task.cancel()
            await asyncio.wait(draining)
            assert sorted(int(record.value) for record in taken if isinstance(record.value, bytes)) == list(range(100))
            assert len({id(record.batch) for record in taken}) > 1
