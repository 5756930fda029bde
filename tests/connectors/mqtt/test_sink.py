"""MQTT topics as sinks, at a real Mosquitto."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import pytest

from penstock.connectors import Message, Settings, Site
from penstock.connectors.mqtt.endpoint import Mqtt
from penstock.errors import Unavailable, Undeliverable
from tests.connectors.contract import SinkContract, SinkOutageContract
from tests.connectors.mqtt.rig import MqttRig, OwnMqttRig
from tests.connectors.rig import PATIENCE, Ledger, until
from tests.connectors.sink_contract import flushed, message
from tests.servers import Mosquitto


@asynccontextmanager
async def hanging_up(address: str, *, over: bytes) -> AsyncIterator[str]:
    """A broker that ends the connection without a word over what holds these bytes."""
    parts, serving = urlsplit(address), set[asyncio.Task[None]]()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while (data := await reader.read(65536)) and over not in data:
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            serving.add(task)
        inner_reader, inner_writer = await asyncio.open_connection(parts.hostname, parts.port)
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await asyncio.wait(serving)


class TestMqttSink(SinkContract):
    @pytest.fixture
    async def rig(self, mqtt_address: str) -> AsyncIterator[MqttRig]:
        rig = MqttRig(mqtt_address)
        await rig.listen()
        yield rig
        await rig.close()


class TestMqttSinkOutage(SinkOutageContract):
    @pytest.fixture
    async def rig(self, own_mosquitto: Mosquitto) -> AsyncIterator[OwnMqttRig]:
        rig = OwnMqttRig(own_mosquitto)
        await rig.listen()
        yield rig
        await rig.close()


class TestWhatIsSent:
    async def test_what_mqtt_cannot_carry_is_undeliverable(self) -> None:
        with Mosquitto({"max_packet_size": "2000"}) as server:
            rig = MqttRig(server.address)
            await rig.listen()
            site = rig.site()
            sink, ledger = rig.endpoint.sink(site), Ledger()
            await sink.open(ledger.settled)
            sink.send(
                [
                    Message("", b"1", id="no topic"),
                    Message("a\0b", b"1", id="zero"),
                    Message("a\nb", b"1", id="two lines"),
                    Message("a/+/b", b"1", id="wildcard"),
                    Message("a" * 70000, b"1", id="long topic"),
                    Message(rig.to, b"x" * 3000, id="large"),
                    Message(rig.to, b"1", id="header", headers={"a": "x" * 70000}),
                    Message(rig.to, b"1", id="key", key=b"card\t1"),
                    Message(rig.to, b"1", id="content type", headers={"content-type": "text/plain\r\n"}),
                    *(
                        Message(rig.to, b"1", id=f"{odd!r}", headers={"a": odd})
                        for odd in ("\x7f", "\x85", "\ufdd0", "\U0001ffff")
                    ),
                    Message(rig.to, b"1", id="good", headers={"a": "\u2028\ufffd\U0001f4b6"}),
                ]
            )
            await sink.flush()
            assert ledger.confirmed() == {"good"}
            assert len(ledger.failed) == 13
            assert all(isinstance(ledger.outcomes[each.id][0], Undeliverable) for each in ledger.failed)
            assert [record.value for record in await rig.received(1)] == [b"1"]
            await sink.close()
            await site.close()
            await rig.close()

    async def test_what_the_broker_ends_the_connection_over_is_undeliverable_alone(self, mqtt_address: str) -> None:
        rig = MqttRig(mqtt_address)
        await rig.listen()
        site = rig.site()
        sink, ledger = rig.endpoint.sink(site), Ledger()
        await sink.open(ledger.settled)
        deep = "/".join(["level"] * 202)  # Mosquitto knows 200
        guilty = {"0", "170", "171"}
        sink.send([message(deep if str(number) in guilty else rig.to, number) for number in range(200)])
        await flushed(sink)
        assert {each.id for each in ledger.failed} == guilty
        assert all(len(outcomes) == 1 for outcomes in ledger.outcomes.values())
        [error] = ledger.outcomes["170"]
        assert isinstance(error, Undeliverable)
        assert "level/... (1,211 characters): sent alone, it ended the connection" in str(error)
        heard = rig.heard
        assert heard is not None
        # Some come twice: a broker that ends a connection takes answers with it.
        await until(lambda: len({bytes(message.payload) for message in heard}) == 197)
        values = dict.fromkeys(int(message.payload) for message in heard)
        assert list(values) == [number for number in range(200) if str(number) not in guilty]
        await sink.close()
        await site.close()
        await rig.close()

    async def test_a_broker_that_hangs_up_without_a_word_is_understood(
        self, mqtt_address: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("penstock.connectors.mqtt.pace.SOON", PATIENCE)  # on a slow machine as well
        async with hanging_up(mqtt_address, over=b"poison") as address:
            rig = MqttRig(mqtt_address)
            site = Site(Settings({"PENSTOCK_MQTT": address}))
            sink, ledger = rig.endpoint.sink(site), Ledger()
            await sink.open(ledger.settled)
            sink.send([message(f"{rig.to}/{'poison' if number == 3 else number}", number) for number in range(10)])
            await flushed(sink)
            assert [each.id for each in ledger.failed] == ["3"]
            assert len(ledger.confirmed()) == 9
            assert all(len(outcomes) == 1 for outcomes in ledger.outcomes.values())
            await sink.close()
            await site.close()
            await rig.close()

    async def test_key_and_retain(self, rig: MqttRig) -> None:
        site = rig.site()
        sink, ledger = Mqtt(rig.to, retain=True).sink(site), Ledger()
        await sink.open(ledger.settled)
        sink.send([Message(rig.to, b"1", key=b"card-1", id="1")])
        await sink.flush()
        await rig.listen()
        [found] = await rig.received(1)
        assert (found.value, found.headers["partitionkey"]) == (b"1", "card-1")
        sink.send([Message(rig.to, None, id="2")])
        await sink.close()
        assert ledger.once(2)
        await site.close()

    async def test_a_broker_that_stays_away_does_not_keep_the_process(
        self, own_mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("penstock.connectors.mqtt.sink.GRACE", 0.1)
        rig = OwnMqttRig(own_mosquitto)
        site = rig.site()
        sink, ledger = rig.endpoint.sink(site), Ledger()
        await sink.open(ledger.settled)
        await rig.down()
        sink.send([Message(rig.to, b"1", id="1")])
        await sink.close()
        assert isinstance(ledger.outcomes["1"][0], Unavailable)
        await site.close()
