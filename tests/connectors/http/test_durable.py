"""`Http(durable=True)`: accepted is safe, once, and comes out of the stream as it came in."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from penstock.connectors import Event, Settings, Site
from penstock.connectors.http.durable import HttpDurableSource
from penstock.connectors.http.endpoint import Http
from tests.connectors.contract import SourceContract
from tests.connectors.http.rig import BATCH, CORE, JSON, LINES, STRUCTURED, HttpSourceRig
from tests.connectors.rig import take, until
from tests.pipeline.process import Running, post
from tests.servers import Redis


class DurableRig(HttpSourceRig):
    """A durable path on the shared server."""

    def __init__(self, store: str, path: str = "/payments", **options: Any) -> None:
        super().__init__(path, {"PENSTOCK_STORE": store}, durable=True, **options)
        self.pipeline = f"durable-{uuid4().hex}"

    def site(self) -> Site:
        self._site = Site(Settings(self.settings), pipeline=self.pipeline)
        return self._site


class TestHttpDurableSource(SourceContract):
    @pytest.fixture
    async def rig(self, redis_address: str) -> AsyncIterator[DurableRig]:
        rig = DurableRig(redis_address)
        yield rig
        await rig.close()

    async def test_an_unreadable_envelope_is_handed_over_as_such(self, rig: DurableRig) -> None:  # type: ignore[override]
        """It is refused to its sender, and not kept."""
        async with opened(rig) as source:
            answer = await rig.post(b'{"specversion": ', STRUCTURED)
            assert (answer.status, source.refused) == (400, {400: 1})


@pytest.fixture
async def rig(redis_address: str) -> AsyncIterator[DurableRig]:
    rig = DurableRig(redis_address)
    yield rig
    await rig.close()


@asynccontextmanager
async def opened(rig: HttpSourceRig, endpoint: Http | None = None) -> AsyncIterator[HttpDurableSource]:
    site = rig.site()
    source = (endpoint or rig.endpoint).source(site)
    assert isinstance(source, HttpDurableSource)
    await source.open()
    try:
        yield source
    finally:
        await source.close()
        await site.close()


async def through(rig: HttpSourceRig, endpoint: Http, body: bytes, headers: dict[str, str], path: str) -> list[Any]:
    """The events of one request as a source of this kind hands them over: value, key, captures, event, position."""
    site = rig.site()
    source = endpoint.source(site)
    await source.open()
    try:
        sender = await rig.begin(body, headers, path)
        taken = await take(source, 1)
        for record in taken:
            record.settle()
        await sender
        return [
            (
                record.value,
                record.key,
                record.batch.captures[record.index] if record.batch.captures else None,
                record.event,
                record.batch.position(record.index),
            )
            for record in taken
        ]
    finally:
        await source.close()
        await site.close()


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"n": 1}', {**JSON, "Tenant": "bl\xfcue", "Idempotency-Key": "k 1", "Authorization": "secret"}),
        (b"\xff\x00\r\n", {"content-type": "application/octet-stream", "Idempotency-Key": "k"}),
        (b"", {**JSON, "Idempotency-Key": "k"}),
        (b'{"n":1}\r\n{"n": 2}\n\n[3]', {**LINES, "Idempotency-Key": "lines"}),
        (b"1", {**JSON, **{f"ce-{name}": value for name, value in CORE.items()}, "ce-subject": "k%C3%A4se"}),
        (b"1", {**JSON, **{f"ce-{name}": value for name, value in CORE.items()}, "ce-partitionkey": "p", "x": "y"}),
        (json.dumps({**CORE, "time": "2024-05-06T07:08:09Z", "data": {"a": [1.50]}, "ext": 3}).encode(), STRUCTURED),
        (json.dumps({**CORE, "data_base64": "/w==", "datacontenttype": "image/png"}).encode(), STRUCTURED),
        (json.dumps(CORE).encode(), STRUCTURED),
        (json.dumps([{**CORE, "data": 1}, {**CORE, "id": "8", "data": "2", "partitionkey": "p"}]).encode(), BATCH),
    ],
)
async def test_events_come_out_as_they_came_in(redis_address: str, body: bytes, headers: dict[str, str]) -> None:
    plain, durable = HttpSourceRig(), DurableRig(redis_address)
    path = "/größe/a%2Fb/%C3%A4"
    expected = await through(plain, Http("/größe/{size}/{unit}"), body, headers, path)
    found = await through(durable, Http("/größe/{size}/{unit}", durable=True), body, headers, path)
    assert found == expected
    for rig in (plain, durable):
        await rig.close()


class TestAnswers:
    async def test_accepted_when_it_is_in_the_stream(self, rig: DurableRig) -> None:
        async with opened(rig) as source:
            answer = await rig.post(b'{"n": 1}', JSON)
            assert (answer.status, answer.body) == (202, b"")
            [taken] = await take(source, 1)
            assert (taken.value, taken.batch.waited) == (b'{"n": 1}', False)
            assert len(taken.event.id) == 32, "an id given on arrival"
            taken.settle()

    async def test_lines_and_batches_one_by_one(self, rig: DurableRig) -> None:
        async with opened(rig) as source:
            answer = await rig.post(b"1\n2\n", LINES)
            assert (answer.status, answer.body) == (200, b'{"status":202}\n{"status":202}\n')
            body = json.dumps([{**CORE, "data": 3}, {**CORE, "id": ""}, {**CORE, "id": "9", "data": 4}]).encode()
            lines = [json.loads(line) for line in (await rig.post(body, BATCH)).body.splitlines()]
            assert [line["status"] for line in lines] == [202, 400, 202] and lines[1]["path"] == "id"
            assert [record.value for record in await take(source, 4)] == [b"1", b"2", b"3", b"4"]
            assert source.refused == {400: 1}
            assert (await rig.post(b"\n", LINES)).body == b""

    async def test_a_repeat_is_once(self, rig: DurableRig) -> None:
        key = {**JSON, "Idempotency-Key": "k-1"}
        event = {**JSON, **{f"ce-{name}": value for name, value in CORE.items()}}
        async with opened(rig) as source:
            for headers in (key, event, key, event, key):
                assert (await rig.post(b"1", headers)).status == 202
            other = await rig.post(b"2", key)
            assert (other.status, b"another body" in other.body) == (422, True)
            for _ in range(2):
                assert (await rig.post(b"5\n6", {**LINES, "Idempotency-Key": "k-2"})).status == 200
            await rig.post(b"9", JSON)
            values = [record.value for record in await take(source, 5)]
            assert values == [b"1", b"1", b"5", b"6", b"9"]

    async def test_a_full_stream(self, rig: DurableRig) -> None:
        rig.settings["PENSTOCK_STREAM_FULL"] = "3"
        async with opened(rig) as source:
            answer = await rig.post(b"1\n2\n3\n4\n5", LINES)
            lines = [json.loads(line) for line in answer.body.splitlines()]
            assert [line["status"] for line in lines] == [202, 202, 202, 429, 429]
            assert lines[3]["retry_after"] == 5.0
            busy = await rig.post(b"6", JSON)
            assert (busy.status, busy.headers["retry-after"]) == (429, "5")
            assert source.refused == {429: 3}
            for record in await take(source, 3):
                record.settle()
            await source.confirm()
            assert (await rig.post(b"6", JSON)).status == 202, "what is finished makes room"

    async def test_what_cannot_be_taken(self, rig: DurableRig) -> None:
        async with opened(rig) as source:
            assert (await rig.post(b"1", {"content-type": "text/xml"})).status == 415
            assert (await rig.post(b"{", BATCH)).status == 400
            bad = await rig.post(b"{", STRUCTURED)
            assert (bad.status, source.turned_away, source.refused) == (400, {415: 1, 400: 1}, {400: 1})

    async def test_several_processes_take_in_and_one_runs(self, rig: DurableRig) -> None:
        async with opened(rig) as source:
            other = DurableRig(rig.settings["PENSTOCK_STORE"])
            other.pipeline = rig.pipeline
            async with opened(other):
                for number in range(10):
                    assert (await (rig, other)[number % 2].post(b"%d" % number, JSON)).status == 202
                assert [record.value for record in await take(source, 10)] == [b"%d" % number for number in range(10)]
            await other.close()

    async def test_stopping(self, rig: DurableRig) -> None:
        async with opened(rig) as source:
            source.stop()
            answer = await rig.post(b"1", JSON)
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert source.turned_away == {503: 1}


class TestTheStore:
    async def test_an_outage_is_told(self) -> None:
        with Redis({"appendfsync": "always"}) as server:
            rig = DurableRig(server.address)
            async with opened(rig) as source:
                assert (await rig.post(b"1", {**JSON, "Idempotency-Key": "k"})).status == 202
                server.kill()
                away = await rig.post(b"2", {**JSON, "Idempotency-Key": "k-2"})
                assert (away.status, away.headers["retry-after"]) == (503, "1")
                await until(lambda: source.problem is not None)
                server.start()

                async def accepted() -> bool:
                    return (await rig.post(b"2", {**JSON, "Idempotency-Key": "k-2"})).status == 202

                await until(accepted)
                assert (await rig.post(b"1", {**JSON, "Idempotency-Key": "k"})).status == 202
                assert [record.value for record in await take(source, 2)] == [b"1", b"2"], "each once"
            await rig.close()


APP = """
import asyncio

from msgspec import Struct

from penstock import Pipeline
from penstock.connectors import Http
from penstock.connectors.redis.endpoint import Redis


class Order(Struct, frozen=True):
    id: str
    customer: str


async def slowly(order: Order) -> Order:
    await asyncio.sleep(0.05)
    return order


def confirm(order: Order) -> Order:
    return order


orders = Pipeline("orders")
orders.source(Http("/orders/{customer}", durable=True), schema=Order, key="customer", id="id").transform(slowly).act(
    confirm, to=Redis("confirmed", partitions=1)
)
"""


@pytest.mark.slow
async def test_what_was_accepted_survives_kill_9(tmp_path: Path) -> None:
    (tmp_path / "orders.py").write_text(APP)
    with Redis({"appendfsync": "always"}) as server:
        settings = {"PENSTOCK_STORE": server.address}
        accepted: list[str] = []
        for life in range(3):
            with Running("run", "orders.py", folder=tmp_path, settings=settings) as running:
                running.ready()
                for number in range(20):
                    id = f"{life}-{number}"
                    status, said = post(running.url(f"/orders/c{number % 2}"), json.dumps({"id": id}))
                    assert status == 202, said
                    accepted.append(id)
                os.kill(running.process.pid, signal.SIGKILL)
                running.process.wait()
        site = Site(Settings(settings), pipeline="test")
        from penstock.connectors.redis.endpoint import Redis as Stream

        out = Stream("confirmed", partitions=1).source(site)
        await out.open()
        found: list[Event] = []
        with Running("run", "orders.py", folder=tmp_path, settings=settings) as running:
            running.ready()
            async with asyncio.timeout(60):
                while {event.id for event in found} != {f"{id}/confirm" for id in accepted}:
                    for batch in await out.receive():
                        found += [batch.event(index) for index in range(len(batch))]
            assert running.stop() == 0
        await out.close()
        await site.close()
        for customer in ("c0", "c1"):
            first = list(dict.fromkeys(event.id for event in found if event.key == customer))
            numbers = [int(id.split("-")[0]) * 20 + int(id.split("-")[1].split("/")[0]) for id in first]
            assert numbers == sorted(numbers), "in order"
