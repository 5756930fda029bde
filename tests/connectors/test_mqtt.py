"""MQTT against a real Mosquitto."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.connectors.contract import RedeliveryContract, SinkContract, SinkOutageContract, SourceOutageContract
from tests.connectors.mqtt_rig import MqttRig, OwnMqttRig
from tests.servers import Mosquitto


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
