"""MQTT against a real Mosquitto."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from penstock.connectors import Message, Settings, Site, Source
from penstock.connectors.cloudevents.modes import BATCH
from penstock.connectors.mqtt.broker import Broker, broker
from penstock.connectors.mqtt.endpoint import Mqtt
from penstock.errors import BadEvent, ConfigError, DeclarationError, Unavailable, Undeliverable
from tests.connectors.contract import RedeliveryContract, SinkContract, SinkOutageContract, SourceOutageContract
from tests.connectors.mqtt.rig import MqttRig, OwnMqttRig
from tests.connectors.rig import PATIENCE, Ledger, Record, Taken, take, until
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


@pytest.fixture
async def rig(mqtt_address: str) -> AsyncIterator[MqttRig]:
    rig = MqttRig(mqtt_address)
    yield rig
    await rig.close()


@asynccontextmanager
async def opened(endpoint: Mqtt, site: Site) -> AsyncIterator[Source]:
    source = endpoint.source(site)
    await source.open()
    try:
        yield source
    finally:
        source.stop()
        await source.close()
        await site.close()


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
        async with opened(Mqtt(base + "/{plant}/machines/{machine}"), rig.site()) as source:
            await foreign(rig, f"{base}/p1/machines/m 7", '{"n": 1}')
            [taken] = await take(source, 1)
            assert taken.value == b'{"n": 1}'
            assert taken.batch.captures == [{"plant": "p1", "machine": "m 7"}]
            assert taken.batch.partition.name == base + "/{plant}/machines/{machine}"
            assert taken.event.topic == f"{base}/p1/machines/m 7"
            assert taken.event.source == f"mqtt:{base}/p1/machines/m 7"
            taken.settle()

    async def test_a_foreign_client_with_cloudevents_properties(self, rig: MqttRig) -> None:
        async with opened(rig.endpoint, rig.site()) as source:
            said = {"specversion": "1.0", "id": "e1", "source": "/a", "type": "t", "partitionkey": "card-1"}
            options = [word for name, value in said.items() for word in ("-D", "publish", "user-property", name, value)]
            await foreign(rig, rig.to, "{}", "-V", "mqttv5", *options)
            [taken] = await take(source, 1)
            assert (taken.event.id, taken.event.source, taken.event.key) == ("e1", "/a", "card-1")
            assert taken.key == b"card-1"
            taken.settle()

    async def test_wildcards(self, rig: MqttRig) -> None:
        base = f"any/{rig.name}"
        async with opened(Mqtt(base + "/+/x/#"), rig.site()) as source:
            for topic in ("a/x", "a/y", "b/x/1/2"):
                await foreign(rig, f"{base}/{topic}", topic)
            taken = await take(source, 2)
            assert [record.value for record in taken] == [b"a/x", b"b/x/1/2"]
            assert taken[0].batch.captures is None
            for record in taken:
                record.settle()

    async def test_an_empty_level_fills_no_field(self, rig: MqttRig) -> None:
        base = f"empty/{rig.name}"
        async with opened(Mqtt(base + "/{card}"), rig.site()) as source:
            await foreign(rig, base + "/", "{}")
            [taken] = await take(source, 1)
            assert isinstance(taken.value, BadEvent) and "empty" in taken.value.reason
            assert taken.event.data == b"{}"
            taken.settle()

    async def test_a_retained_message_says_so_and_comes_once(self, rig: MqttRig) -> None:
        await foreign(rig, rig.to, "1", "--retain")
        for expected in ([b"1", b"2"], [b"3"]):
            async with opened(rig.endpoint, rig.site()) as source:
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
        async with opened(rig.endpoint, rig.site()) as source:
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
        async with opened(rig.endpoint, rig.site()) as source:
            await rig.produce([Record(b"{}", headers={**headers, "content-type": "\ufefftext/plain"}), Record(b"2")])
            first, second = await take(source, 2)
            assert (first.value, first.event.id, first.event.headers["note"]) == (b"{}", "\ufeff1", "\ufeffwhole")
            assert first.event.headers["content-type"] == "\ufefftext/plain"
            assert second.value == b"2"
            first.settle()
            second.settle()

    async def test_qos_0_arrives_and_needs_no_answer(self, rig: MqttRig) -> None:
        async with opened(rig.endpoint, rig.site()) as source:
            await foreign(rig, rig.to, "1", "-q", "0")
            await foreign(rig, rig.to, "2")
            for record in await take(source, 2):
                record.settle()
            await source.confirm()


class TestConfirming:
    async def test_receive_maximum_is_the_backpressure(self, mqtt_address: str) -> None:
        rig = MqttRig(mqtt_address + "?receive_maximum=10")
        async with opened(rig.endpoint, rig.site()) as source:
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
        async with opened(rig.endpoint, rig.site()) as source:
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
        async with opened(rig.endpoint, rig.site()) as source:
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
        async with opened(rig.endpoint, rig.site()) as source:
            await rig.produce([Record(b"last")])
            [last] = await take(source, 1)
            assert last.value == b"last", "all of them were acknowledged on the new connection"
            last.settle()
        await rig.close()

    async def test_a_broker_that_forgot_the_session_is_subscribed_again(self, own_mosquitto: Mosquitto) -> None:
        rig = OwnMqttRig(own_mosquitto)
        async with opened(rig.endpoint, rig.site()) as source:
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
        async with opened(rig.endpoint, site) as source:
            own_mosquitto.pause()
            await until(lambda: source.problem is not None)
            own_mosquitto.resume()
            await until(lambda: source.problem is None)
            await rig.produce([Record(b"1")])
            [taken] = await take(source, 1)
            taken.settle()
        await rig.close()

    async def test_a_second_process_under_our_name_is_named(self, rig: MqttRig) -> None:
        async with opened(rig.endpoint, rig.site()) as first, opened(rig.endpoint, rig.site()) as second:
            await until(lambda: "is another process connected as" in f"{first.problem} {second.problem}")

    async def test_workers_share_a_topic(self, rig: MqttRig) -> None:
        settings = Settings({"PENSTOCK_MQTT": rig.address, "PENSTOCK_WORKERS": "2"})
        sites = [Site(settings, pipeline=f"shared-{rig.name}", worker=worker) for worker in (0, 1)]
        async with opened(rig.endpoint, sites[0]) as one, opened(rig.endpoint, sites[1]) as other:
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
            async with opened(rig.endpoint, Site(settings, pipeline=f"tls-{rig.name}")) as source:
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
