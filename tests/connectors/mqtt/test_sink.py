"""MQTT topics as sinks, at a real Mosquitto."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from penstock.connectors import Message
from penstock.connectors.mqtt.endpoint import Mqtt
from penstock.errors import Unavailable, Undeliverable
from tests.connectors.contract import SinkContract, SinkOutageContract
from tests.connectors.mqtt.rig import MqttRig, OwnMqttRig
from tests.connectors.rig import Ledger
from tests.servers import Mosquitto


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
