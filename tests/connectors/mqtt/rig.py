"""MQTT seen from outside: a foreign client that publishes and listens, and rigs for the contracts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import uuid4

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from penstock.connectors import Settings, Site
from penstock.connectors.mqtt.endpoint import Mqtt
from tests.connectors.rig import PATIENCE, Record, until
from tests.servers import Mosquitto


class Outsider:
    """A paho client on its own thread, made for every use: what any other program would do."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        assert parts.hostname and parts.port
        self.host, self.port = parts.hostname, parts.port

    def client(self, *, keep: bool = False) -> Client:
        """A connected client; with `keep` the broker keeps for it what comes while it is away."""
        client = Client(CallbackAPIVersion.VERSION2, f"outsider-{uuid4().hex}", protocol=MQTTv5)
        client.max_inflight_messages_set(0)
        connected = threading.Event()
        client.on_connect = lambda *_: connected.set()
        session = cast(Any, Properties)(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 600 if keep else 0
        client.connect(self.host, self.port, clean_start=not keep, properties=session)
        client.loop_start()
        assert connected.wait(PATIENCE)
        return client

    def publish(self, topic: str, records: Sequence[Record], *, retain: bool = False) -> None:
        """Publish all, and wait until the broker has them."""
        client = self.client()
        infos = []
        for record in records:
            properties = cast(Any, Properties)(PacketTypes.PUBLISH)
            headers = dict(record.headers)
            if "content-type" in headers:
                properties.ContentType = headers.pop("content-type")
            if headers:
                properties.UserProperty = list(headers.items())
            infos.append(client.publish(topic, record.value, 1, retain, properties))
        for info in infos:
            info.wait_for_publish(PATIENCE)
        client.disconnect()
        client.loop_stop()

    def listen(self, topic: str) -> tuple[list[MQTTMessage], Callable[[], None]]:
        """Everything that reaches a topic from now on, and how to stop listening."""
        client, heard, granted = self.client(keep=True), list[MQTTMessage](), threading.Event()
        client.on_message = lambda _client, _data, message: heard.append(message)
        client.on_subscribe = lambda *_: granted.set()
        client.subscribe(topic, 1)
        assert granted.wait(PATIENCE)

        def stop() -> None:
            client.disconnect()
            client.loop_stop()

        return heard, stop


class MqttRig:
    """A topic that no other test has."""

    def __init__(self, address: str, template: str = "") -> None:
        self.address = address
        self.outsider = Outsider(address)
        self.name = uuid4().hex[:12]
        self.to = template or f"test/{self.name}/payments"
        self.heard: list[MQTTMessage] | None = None
        self._stop: Callable[[], None] | None = None

    @property
    def endpoint(self) -> Mqtt:
        return Mqtt(self.to)

    def site(self) -> Site:
        return Site(Settings({"PENSTOCK_MQTT": self.address}), pipeline=f"demo-{self.name}")

    def binary(self, attributes: Mapping[str, str]) -> dict[str, str]:
        return dict(attributes)

    async def produce(self, records: Sequence[Record]) -> None:
        await asyncio.to_thread(self.outsider.publish, self.to, records)

    async def listen(self) -> None:
        self.heard, self._stop = await asyncio.to_thread(self.outsider.listen, self.to)

    async def received(self, count: int) -> list[Record]:
        heard = self.heard
        assert heard is not None
        await until(lambda: len(heard) >= count)
        return [record(message) for message in heard]

    async def close(self) -> None:
        if self._stop is not None:
            await asyncio.to_thread(self._stop)


class OwnMqttRig(MqttRig):
    """A rig whose broker is its own."""

    def __init__(self, server: Mosquitto) -> None:
        super().__init__(server.address)
        self.server = server

    async def received(self, count: int) -> list[Record]:
        heard = self.heard
        assert heard is not None
        # A broker that stops may have sent some already, and sends them again when it is back.
        await until(lambda: len({bytes(message.payload) for message in heard}) >= count)
        return [record(message) for message in heard]

    async def down(self) -> None:
        await asyncio.to_thread(self.server.stop)

    async def up(self) -> None:
        await asyncio.to_thread(self.server.start)


def record(message: MQTTMessage) -> Record:
    """What a message says, as the contract reads it."""
    said = vars(message.properties)
    headers = dict(said.get("UserProperty", []))
    if "ContentType" in said:
        headers["content-type"] = said["ContentType"]
    return Record(bytes(message.payload), headers=headers)
