"""A topic of its own at the Mosquitto that tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.connectors.mqtt.rig import MqttRig


@pytest.fixture
async def rig(mqtt_address: str) -> AsyncIterator[MqttRig]:
    rig = MqttRig(mqtt_address)
    yield rig
    await rig.close()
