"""Brokers and topics as they are declared, passwords and TLS."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from penstock.connectors import Settings, Site
from penstock.connectors.mqtt.broker import Broker, broker
from penstock.connectors.mqtt.endpoint import Mqtt
from penstock.errors import ConfigError, DeclarationError, Unavailable
from tests.connectors.mqtt.rig import MqttRig
from tests.connectors.rig import Record, reading, take
from tests.servers import Mosquitto
from tests.servers.tools import program


class TestSettings:
    @pytest.mark.parametrize(
        ("url", "said"),
        [
            ("localhost:1883", "write mqtt://host:1883"),
            ("kafka://localhost", "starts with 'kafka'"),
            ("mqtt://", "names no host"),
            ("mqtt://localhost:http", "not a URL"),
            ("mqtt://localhost?keepalive=soon", "a number from 1 to 65535"),
            ("mqtt://localhost?receive_maximum=0", "a number from 1 to 65535"),
            ("mqtt://localhost?quality=2", "unknown option 'quality'"),
            ("mqtts://localhost?ssl_ca=/nowhere.pem", "ssl_ca=/nowhere.pem is no file"),
        ],
    )
    def test_what_is_wrong_is_named(self, url: str, said: str) -> None:
        with pytest.raises(ConfigError, match=re.escape(said)) as raised:
            Mqtt("t", on="eu").source(Site(Settings({"PENSTOCK_MQTT__EU": url})))
        assert "PENSTOCK_MQTT__EU" in str(raised.value)

    def test_a_whole_url(self) -> None:
        url = "mqtts://me:p%40ss@broker.example:8884/?receive_maximum=7&keepalive=9"
        assert broker(Settings({"PENSTOCK_MQTT": url})) == Broker(
            "broker.example", 8884, True, "me", "p@ss", receive_maximum=7, keepalive=9
        )

    @pytest.mark.parametrize(
        ("topic", "said"),
        [
            ("a/x-{card}", "whole level"),
            ("a/{card.id}", "whole level"),
            ("a/{card}/{card}", "twice"),
            ("a/#/b", "last level"),
            ("a/b+", "whole level"),
        ],
    )
    def test_topics_that_cannot_be_subscribed_to(self, topic: str, said: str) -> None:
        with pytest.raises(DeclarationError, match=said):
            Mqtt(topic).source(Site(Settings({"PENSTOCK_MQTT": "mqtt://localhost"})))

    def test_declarations_that_cannot_work(self) -> None:
        with pytest.raises(DeclarationError, match="write qos=1"):
            Mqtt("t", qos=2)
        with pytest.raises(DeclarationError, match="braces"):
            Mqtt("a/{card")
        with pytest.raises(DeclarationError, match="one topic"):
            Mqtt("a/+").sink(Site(Settings({"PENSTOCK_MQTT": "mqtt://localhost"})))

    async def test_a_wrong_password_is_said_at_once(self, tmp_path: Path) -> None:
        passwords = tmp_path / "passwords"
        make = [program("mosquitto_passwd", package="mosquitto"), "-b", "-c", str(passwords), "me", "secret"]
        process = await asyncio.create_subprocess_exec(*make)
        assert await process.wait() == 0
        passwords.chmod(0o644)
        with Mosquitto({"password_file": str(passwords)}) as server:
            where = server.address.removeprefix("mqtt://")
            for user, works in (("me:wrong@", False), ("me:secret@", True)):
                site = Site(Settings({"PENSTOCK_MQTT": f"mqtt://{user}{where}"}))
                source = Mqtt("t").source(site)
                if works:
                    await source.open()
                    assert source.problem is None
                else:
                    with pytest.raises(ConfigError, match=r"PENSTOCK_MQTT.*[Nn]ot authorized"):
                        await source.open()
                await source.close()

    async def test_tls(self, mqtt_address: str, tmp_path: Path) -> None:
        key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
        options = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
        command = [
            program("openssl", package="openssl"),
            *options.split(),
            "-keyout",
            str(key),
            "-out",
            str(certificate),
        ]
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
        assert await process.wait() == 0
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        rig = MqttRig(mqtt_address)
        async with tunnel(rig.outsider.host, rig.outsider.port, context) as port:
            untrusted = Mqtt(rig.to).source(Site(Settings({"PENSTOCK_MQTT": f"mqtts://localhost:{port}"})))
            with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
                await untrusted.open()
            settings = Settings({"PENSTOCK_MQTT": f"mqtts://localhost:{port}?ssl_ca={certificate}"})
            async with reading(rig.endpoint, Site(settings, pipeline=f"tls-{rig.name}")) as source:
                values = [b"%d" % number * 3000 for number in range(200)]
                await rig.produce([Record(value) for value in values])
                taken = await take(source, 200)
                assert [record.value for record in taken] == values
                for record in taken:
                    record.settle()


@asynccontextmanager
async def tunnel(host: str, port: int, context: ssl.SSLContext) -> AsyncIterator[int]:
    """TLS in front of a server that has none."""
    writers: list[asyncio.StreamWriter] = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, ssl.SSLError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(host, port)
        writers.extend((writer, inner_writer))
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for writer in writers:
            writer.close()
