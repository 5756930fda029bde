"""HTTP against real sockets."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from penstock.connectors import Batch, Message, Refusal, Settings, Sink, Site, Source
from penstock.connectors.http.endpoint import Http, Reply
from penstock.connectors.http.sink import CONCURRENT, HttpSink, retry_after
from penstock.connectors.http.source import HttpSource
from penstock.errors import BadEvent, ConfigError, DeclarationError, Unavailable, Undeliverable
from tests.connectors.contract import SinkContract, SinkOutageContract, SourceContract
from tests.connectors.http.rig import JSON, LINES, HttpSinkRig, HttpSourceRig
from tests.connectors.rig import Ledger, Record, take, until
from tests.servers.port import free_port
from tests.servers.tools import program


class TestHttpSource(SourceContract):
    @pytest.fixture
    async def rig(self) -> AsyncIterator[HttpSourceRig]:
        rig = HttpSourceRig()
        yield rig
        await rig.close()


class TestHttpSink(SinkContract):
    @pytest.fixture
    async def rig(self) -> AsyncIterator[HttpSinkRig]:
        rig = HttpSinkRig()
        await rig.up()
        yield rig
        await rig.close()


class TestHttpSinkOutage(SinkOutageContract):
    @pytest.fixture
    async def rig(self) -> AsyncIterator[HttpSinkRig]:
        rig = HttpSinkRig()
        await rig.up()
        yield rig
        await rig.close()

    async def test_opening_without_a_server_says_so(self, rig: HttpSinkRig) -> None:  # type: ignore[override]
        """Opening asks nothing of a third party; what is sent waits for it."""
        await rig.down()


STRUCTURED = {"content-type": "application/cloudevents+json"}
BATCH = {"content-type": "application/cloudevents-batch+json"}
CORE = {"specversion": "1.0", "id": "7", "source": "/a", "type": "t"}


@pytest.fixture
async def rig() -> AsyncIterator[HttpSourceRig]:
    rig = HttpSourceRig()
    yield rig
    await rig.close()


@asynccontextmanager
async def opened(rig: HttpSourceRig, endpoint: Http | None = None) -> AsyncIterator[Source]:
    site = rig.site()
    source = (endpoint or rig.endpoint).source(site)
    await source.open()
    try:
        yield source
    finally:
        source.stop()
        await source.close()
        await site.close()


@asynccontextmanager
async def echoing(rig: HttpSourceRig, endpoint: Http | None = None) -> AsyncIterator[list[Batch]]:
    """A source whose every record is answered with what it said, and kept in the list."""
    seen: list[Batch] = []

    async def run() -> None:
        while batches := await source.receive():
            for batch in batches:
                seen.append(batch)
                for index, value in enumerate(batch.values):
                    if isinstance(value, BadEvent):
                        batch.answer(index, Refusal(value.status, value.reason, value.path))
                    else:
                        batch.answer(index, [Message("reply", value)])
                    batch.settle(index)

    async with opened(rig, endpoint) as source:
        running = asyncio.create_task(run())
        yield seen
        source.stop()
        await running


class TestAnswers:
    async def test_nothing_acted_is_accepted(self, rig: HttpSourceRig) -> None:
        async with opened(rig) as source:
            sender = await rig.begin(b"1", JSON)
            [taken] = await take(source, 1)
            assert taken.batch.waited
            assert not sender.done(), "no answer before it is finished"
            taken.settle()
            answer = await sender
            assert (answer.status, answer.body) == (202, b"")

    @pytest.mark.parametrize(
        ("values", "body"),
        [([b'{"n":1}'], b'{"n":1}'), ([b"1", b"2"], b"[1,2]"), ([None], b"null"), ([None, b"2"], b"[null,2]")],
    )
    async def test_replies_are_the_body(self, rig: HttpSourceRig, values: list[bytes | None], body: bytes) -> None:
        async with opened(rig) as source:
            sender = await rig.begin(b"1", JSON)
            [taken] = await take(source, 1)
            taken.batch.answer(
                0, [Message("reply", value, headers={"Trace-Id": "x", "Content-Length": "9"}) for value in values]
            )
            taken.settle()
            answer = await sender
            assert (answer.status, answer.body, answer.headers["content-type"]) == (200, body, "application/json")
            assert answer.headers.get("trace-id") == ("x" if len(values) == 1 else None)

    async def test_a_refusal_says_why(self, rig: HttpSourceRig) -> None:
        async with opened(rig) as source:
            for refusal, said, after in (
                (Refusal(422, "no", "$.amount", "l-1"), {"error": "no", "path": "$.amount", "letter": "l-1"}, None),
                (Refusal(400, "bad"), {"error": "bad"}, None),
                (Refusal(503, "later", retry_after=2.5), {"error": "later"}, "3"),
                (Refusal(503, "later"), {"error": "later"}, "1"),
            ):
                sender = await rig.begin(b"1", JSON)
                [taken] = await take(source, 1)
                taken.batch.answer(0, refusal)
                taken.settle()
                answer = await sender
                assert (answer.status, json.loads(answer.body)) == (refusal.status, said)
                assert answer.headers["content-type"] == "application/json"
                assert answer.headers.get("retry-after") == after

    async def test_lines_are_answered_one_by_one(self, rig: HttpSourceRig) -> None:
        async with opened(rig) as source:
            sender = await rig.begin(b'1\r\n\n2\n  \n3\n{"n": 4}', LINES)
            taken = await take(source, 4)
            assert len({id(record.batch) for record in taken}) == 1, "one batch a request"
            batch = taken[0].batch
            batch.answer(0, [Message("reply", b"10")])
            batch.answer(1, Refusal(422, "no", "$.n", "l-1", retry_after=1.0))
            batch.answer(3, [Message("reply", b"1"), Message("reply", b"2")])
            for record in taken:
                record.settle()
            answer = await sender
            assert answer.status == 200 and answer.headers["content-type"] == "application/x-ndjson"
            assert [json.loads(line) for line in answer.body.splitlines()] == [
                {"status": 200, "value": 10},
                {"status": 422, "error": "no", "path": "$.n", "letter": "l-1", "retry_after": 1.0},
                {"status": 202},
                {"status": 200, "value": [1, 2]},
            ]
            sender = await rig.begin(b"1\n2\n", LINES)
            for record in await take(source, 2):
                record.settle()
            assert (await sender).body == b'{"status":202}\n{"status":202}\n'
            assert (await rig.post(b"\n", LINES)).body == b""

    async def test_a_batch_of_cloudevents(self, rig: HttpSourceRig) -> None:
        async with echoing(rig) as seen:
            body = json.dumps([{**CORE, "data": 1}, {**CORE, "id": ""}, {**CORE, "id": "9", "data": 3}]).encode()
            answer = await rig.post(body, BATCH)
            first, second, third = [json.loads(line) for line in answer.body.splitlines()]
            assert (first, third) == ({"status": 200, "value": 1}, {"status": 200, "value": 3})
            assert (second["status"], second["path"]) == (400, "id")
            assert [seen[0].event(index).id for index in (0, 2)] == ["7", "9"]
            assert json.loads(seen[0].event(1).data) == {**CORE, "id": ""}

    async def test_time_out_and_repeats(self) -> None:
        rig = HttpSourceRig(timeout="400ms")
        key = {**JSON, "Idempotency-Key": "k-1"}
        async with opened(rig) as source:
            sender = await rig.begin(b"1", key)
            [taken] = await take(source, 1)
            assert taken.event.id == "k-1"
            late = await sender
            assert (late.status, late.headers["retry-after"], b"it goes on" in late.body) == (503, "1", True)
            assert (await rig.post(b"1", key)).status == 503, "it joins the one that runs"
            other = await rig.post(b"2", key)
            assert (other.status, b"another body" in other.body) == (422, True)
            taken.batch.answer(0, [Message("reply", b"10")])
            taken.settle()
            assert (await rig.post(b"1", key)).body == b"10", "what nobody had heard is said again"
            sender = await rig.begin(b"1\n2", LINES)
            first, second = await take(source, 2)
            first.settle()
            lines = await sender
            assert lines.status == 503
            assert [json.loads(line)["status"] for line in lines.body.splitlines()] == [202, 503]
            second.settle()
        await rig.close()

    async def test_what_was_not_begun_in_time_is_withdrawn(self) -> None:
        rig = HttpSourceRig(timeout="300ms")
        async with opened(rig) as source:
            for headers in (JSON, LINES, {**JSON, "Idempotency-Key": "k-1"}):
                late = await rig.post(b"1", headers)
                assert (late.status, b"not begun" in late.body) == (503, True)
            sender = await rig.begin(b"2", JSON)
            [taken] = await take(source, 1)
            assert taken.value == b"2", "nothing runs that its sender will send again"
            taken.settle()
            assert (await sender).status == 202
        await rig.close()

    async def test_requests_of_one_moment_are_one_batch(self, rig: HttpSourceRig) -> None:
        async with opened(rig, Http("/{n}")) as source:
            senders = [await rig.begin(b"%d" % n, JSON, f"/{n}") for n in range(5)]
            taken = await take(source, 5)
            assert len({id(record.batch) for record in taken}) == 1
            assert [record.event.topic for record in taken] == [f"/{n}" for n in range(5)]
            assert taken[0].batch.captures == [{"n": str(n)} for n in range(5)]
            assert len({record.event.id for record in taken}) == 5
            taken[3].batch.answer(3, [Message("reply", b"30")])
            for number in (3, 0, 4, 2, 1):
                taken[number].settle()
                assert (await senders[number]).body == (b"30" if number == 3 else b""), "each as soon as it is finished"

    async def test_repeats_share_one_answer(self, rig: HttpSourceRig) -> None:
        async with opened(rig) as source:
            key = {**JSON, "Idempotency-Key": "k-1"}
            senders = [await rig.begin(b"1", key) for _ in range(3)]
            [taken] = await take(source, 1)
            taken.batch.answer(0, [Message("reply", b"10")])
            taken.settle()
            assert [(await sender).body for sender in senders] == [b"10"] * 3
            event = {**JSON, **{f"ce-{name}": value for name, value in CORE.items()}}
            senders = [await rig.begin(b"1", event) for _ in range(2)]
            [taken] = await take(source, 1)
            taken.settle()
            assert [(await sender).status for sender in senders] == [202, 202]

    async def test_what_may_succeed_later_runs_again(self) -> None:
        rig = HttpSourceRig(timeout="300ms")
        key = {**JSON, "Idempotency-Key": "k-1"}
        async with opened(rig) as source:
            sender = await rig.begin(b"1", key)
            [taken] = await take(source, 1)
            assert (await sender).status == 503
            taken.batch.answer(0, Refusal(503, "the store is away"))
            taken.settle()
            await rig.begin(b"1", key)
            [again] = await take(source, 1)
            assert again.batch is not taken.batch
        await rig.close()

    async def test_a_sender_that_leaves_changes_nothing(self, rig: HttpSourceRig) -> None:
        async with opened(rig) as source:
            sender = await rig.begin(b"1", JSON)
            [taken] = await take(source, 1)
            sender.cancel()
            await asyncio.wait([sender])
            await rig.begin(b"2", JSON)
            [other] = await take(source, 1)
            for record in (taken, other):
                record.settle()

    async def test_stopping(self, rig: HttpSourceRig) -> None:
        async with opened(rig) as source:
            running = await rig.begin(b"1", JSON)
            [taken] = await take(source, 1)
            waiting = await rig.begin(b"2", JSON)
            source.stop()
            assert ((await waiting).status, (await rig.post(b"3", JSON)).status) == (503, 503)
            taken.settle()
            assert (await running).status == 202, "what runs may finish"
            unfinished = HttpSourceRig()
        async with opened(unfinished) as source:
            sender = await unfinished.begin(b"1", JSON)
            await take(source, 1)
        assert (await sender).status == 503
        await unfinished.close()


class TestWhatIsTurnedAway:
    @pytest.mark.parametrize(("limit", "requests"), [("WAITING", 4), ("WAITING_BYTES", 2)])
    async def test_a_full_queue(
        self, rig: HttpSourceRig, monkeypatch: pytest.MonkeyPatch, limit: str, requests: int
    ) -> None:
        monkeypatch.setattr(f"penstock.connectors.http.source.{limit}", 4 if limit == "WAITING" else 3000)
        async with opened(rig) as source:
            assert isinstance(source, HttpSource)
            senders = [await rig.begin(b"1" * 2000, JSON) for _ in range(requests)]
            await until(lambda: len(source._ready) == requests)
            busy = await rig.post(b"1", JSON)
            assert (busy.status, busy.headers["retry-after"]) == (503, "5"), "nobody takes anything"
            taken = await take(source, requests)
            senders.append(await rig.begin(b"1", JSON))
            for record in [*taken, *await take(source, 1)]:
                record.settle()
            assert [(await sender).status for sender in senders] == [202] * (requests + 1)

    async def test_too_fast_and_not_at_all(self, rig: HttpSourceRig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("penstock.connectors.http.source.WAITING", 1)
        async with opened(rig) as source:
            assert isinstance(source, HttpSource)
            await rig.begin(b"1", JSON)
            taken = await take(source, 1)
            await rig.begin(b"2", JSON)
            await until(lambda: bool(source._ready))
            busy = await rig.post(b"3", JSON)
            assert (busy.status, busy.headers["retry-after"]) == (429, "1"), "it is taken, and not fast enough"
            monkeypatch.setattr("penstock.connectors.http.source.QUIET", 0.0)
            assert (await rig.post(b"3", JSON)).status == 503, "nothing is taken"
            assert source.turned_away == {429: 1, 503: 1}
            for record in [*taken, *await take(source, 1)]:
                record.settle()

    async def test_paths_and_methods(self, rig: HttpSourceRig) -> None:
        async with echoing(rig):
            assert (await rig.post(b"1", JSON, "/nowhere")).status == 404
            answer = await rig.post(b"1", JSON, method="PUT")
            assert (answer.status, answer.headers["allow"]) == (405, "POST")
            assert (await rig.post(b"1", JSON, "/payments?debug=1")).status == 200
            assert (await rig.post(b"1", JSON, "/%70ayments")).status == 200

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"content-type": "text/xml"}, 415),
            ({"content-type": "application/x-www-form-urlencoded"}, 415),
            ({"content-type": "application/cloudevents+avro"}, 415),
            ({"content-type": "application/json; charset=latin-1"}, 415),
            ({"content-type": "application/json; charset=UTF-8"}, 200),
            ({"content-type": "application/vnd.payment+json"}, 200),
            ({"content-type": "Application/JSON"}, 200),
            ({"content-type": "application/octet-stream"}, 200),
            ({"content-type": ""}, 200),
            ({"content-type": "application/json", "content-encoding": "gzip"}, 400),
            ({"content-type": "application/json", "content-encoding": "br"}, 415),
        ],
    )
    async def test_content_types(self, rig: HttpSourceRig, headers: dict[str, str], status: int) -> None:
        async with echoing(rig):
            answer = await rig.post(b"1", headers)
            assert answer.status == status
            assert status == 200 or json.loads(answer.body)["error"]

    async def test_compressed_bodies_are_understood(self, rig: HttpSourceRig) -> None:
        async with echoing(rig):
            for encoding, whole in (("gzip", gzip.compress(b'{"n":1}')), ("deflate", zlib.compress(b'{"n":1}'))):
                headers = {**JSON, "content-encoding": encoding}
                assert (await rig.post(whole, headers)).body == b'{"n":1}'
                assert (await rig.post(whole[:-5], headers)).status == 400, "cut short"
                assert (await rig.post(whole + b"x", headers)).status == 400

    async def test_bodies_that_are_too_large(self) -> None:
        rig = HttpSourceRig(settings={"PENSTOCK_HTTP_LIMIT": "1000"})

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield b"x" * 100

        async with echoing(rig) as seen:
            assert (await rig.post(b"x" * 1000, JSON)).status == 200
            for body in (b"x" * 1001, chunks(), gzip.compress(b"x" * 1_000_000)):
                headers = {**JSON, "content-encoding": "gzip"} if isinstance(body, bytes) and body[:1] != b"x" else JSON
                async with rig.session.post(rig.url + rig.path, data=body, headers=headers) as response:
                    assert response.status == 413
                    assert "PENSTOCK_HTTP_LIMIT" in (await response.json())["error"]
            assert len(seen) == 1
        await rig.close()

    @pytest.mark.parametrize("body", [b"", b"{", b"{}", b"\xff"])
    async def test_a_batch_that_is_no_list(self, rig: HttpSourceRig, body: bytes) -> None:
        async with echoing(rig) as seen:
            answer = await rig.post(body, BATCH)
            assert answer.status == 400 and json.loads(answer.body)["error"]
            assert not seen

    async def test_bad_envelopes_reach_the_engine(self, rig: HttpSourceRig) -> None:
        binary = {**JSON, **{f"ce-{name}": value for name, value in CORE.items()}}
        async with echoing(rig):
            for body, headers, path in (
                (b"{", STRUCTURED, None),
                (json.dumps({**CORE, "specversion": "9"}).encode(), STRUCTURED, "specversion"),
                (b"1", {**binary, "ce-specversion": "0.3"}, "specversion"),
                (b"1", {**binary, "ce-id": ""}, "id"),
                (b"1", {**binary, "ce-time": "noon"}, "time"),
            ):
                answer = await rig.post(body, headers)
                assert (answer.status, json.loads(answer.body).get("path")) == (400, path)

    async def test_what_is_not_http(self, rig: HttpSourceRig) -> None:
        async with echoing(rig):
            host, port = rig.url.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"\x00\xff nonsense\r\n\r\n")
            assert (await reader.readline()).split()[1] == b"400"
            writer.close()
            assert (await rig.post(b"1", JSON)).status == 200


class TestWhatArrives:
    async def test_a_foreign_client(self, rig: HttpSourceRig, tmp_path: Path) -> None:
        async with echoing(rig, Http("/orders/{order}", method="PUT")) as seen:
            file = tmp_path / "event.json"
            file.write_bytes(b'{"n": "' + b"x" * 100_000 + b'"}')
            command = [program("curl", package="curl"), "-sS", "-X", "PUT", "-H", "Content-Type: application/json"]
            command += ["-H", "Expect: 100-continue", "--data-binary", f"@{file}", f"{rig.url}/orders/a%20b"]
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            out, _ = await process.communicate()
            assert out == file.read_bytes()
            assert seen[0].captures == [{"order": "a b"}]
            assert seen[0].event(0).topic == "/orders/a b"

    async def test_captures(self, rig: HttpSourceRig) -> None:
        async with echoing(rig, Http("/größe/{size}/{unit}")) as seen:
            await rig.post(b"1\n2", LINES, "/größe/a%2Fb/k%C3%A4se")
            assert seen[0].captures == [{"size": "a/b", "unit": "käse"}] * 2
            assert (await rig.post(b"1", JSON, "/größe/1")).status == 404
            assert (await rig.post(b"1", JSON, "/größe//m")).status == 404

    async def test_headers_without_secrets(self, rig: HttpSourceRig) -> None:
        event = {f"ce-{name}": value for name, value in {**CORE, "subject": "k%C3%A4se", "partitionkey": "p"}.items()}
        secret = {"Authorization": "Bearer x", "Cookie": "a=b", "Tenant": "blue"}
        async with echoing(rig) as seen:
            await rig.post(b"1", {**JSON, **secret})
            assert seen[0].event(0).headers == {"content-type": "application/json", "tenant": "blue"}
            assert seen[0].event(0).source == "http:/payments"
            await rig.post(b"1", {**JSON, **secret, **event})
            assert seen[1].event(0).headers == {"tenant": "blue", "partitionkey": "p"}
            assert (seen[1].event(0).subject, seen[1].event(0).key, seen[1].keys) == ("käse", "p", ["p"])

    async def test_two_paths_share_a_server(self, rig: HttpSourceRig) -> None:
        site = rig.site()
        sources = [Http(path).source(site) for path in ("/a", "/b/{c}")]
        await sources[0].open()
        assert (await rig.post(b"2", JSON, "/b/x")).status == 503, "nor does one that is still on its way"
        assert (await rig.post(b"2", JSON, "/c")).status == 404
        await sources[1].open()
        senders = [await rig.begin(b"1", JSON, "/a"), await rig.begin(b"2", JSON, "/b/x")]
        for source, value in zip(sources, (b"1", b"2"), strict=True):
            [taken] = await take(source, 1)
            assert taken.value == value
            taken.settle()
        assert [(await sender).status for sender in senders] == [202, 202]
        with pytest.raises(ConfigError, match="two sources listen on POST /a"):
            await Http("/a").source(site).open()
        await sources[0].close()
        assert (await rig.post(b"1", JSON, "/a")).status == 503, "a process that leaves does not say: never"
        await sources[1].close()
        await site.close()


class TestSettings:
    @pytest.mark.parametrize("listen", ["8080", "localhost", "localhost:http", "localhost:99999"])
    def test_an_address_that_is_none(self, listen: str) -> None:
        with pytest.raises(ConfigError, match=r"PENSTOCK_HTTP_LISTEN is .* write host:port"):
            Http("/a").source(Site(Settings({"PENSTOCK_HTTP_LISTEN": listen})))

    async def test_an_address_that_is_taken(self, rig: HttpSourceRig) -> None:
        async with opened(rig):
            taken = {"PENSTOCK_HTTP_LISTEN": rig.url.removeprefix("http://")}
            site = Site(Settings(taken))
            with pytest.raises(ConfigError, match=r"PENSTOCK_HTTP_LISTEN is .*cannot listen there"):
                await rig.endpoint.source(site).open()
            await site.close()

    async def test_workers_share_an_address(self) -> None:
        settings = Settings({"PENSTOCK_HTTP_LISTEN": f"127.0.0.1:{free_port()}", "PENSTOCK_WORKERS": "2"})
        sites = [Site(settings, worker=worker) for worker in (0, 1)]
        sources = [Http("/a").source(site) for site in sites]
        for source in sources:
            await source.open()
        for source in sources:
            await source.close()
        for site in sites:
            await site.close()

    def test_declarations_that_cannot_work(self) -> None:
        site = Site(Settings({}))
        for wrong, said in (
            (lambda: Http("payments"), "write a path"),
            (lambda: Http("/a/{b"), "braces"),
            (lambda: Http("/a", timeout="soon"), "length of time"),
            (lambda: Http("/a", method="post"), "method"),
            (lambda: Http("https://host/a").source(site), "listens on a path"),
            (lambda: Http("/a?b=c").source(site), "no ?"),
            (lambda: Http("/{a}/{a}").source(site), "one field"),
            (lambda: Http("/a").sink(site), "goes to a URL"),
            (lambda: Reply().source(site), "not a source"),
            (lambda: Reply().sink(site), "no connection"),
        ):
            with pytest.raises(DeclarationError, match=re.escape(said)):
                wrong()
        with pytest.raises(ConfigError, match="PENSTOCK_STORE is not set"):
            Http("/a", durable=True).source(site)


@pytest.fixture
async def called() -> AsyncIterator[HttpSinkRig]:
    rig = HttpSinkRig()
    await rig.up()
    yield rig
    await rig.close()


@asynccontextmanager
async def sending(endpoint: Http) -> AsyncIterator[tuple[Sink, Ledger]]:
    site, ledger = Site(Settings({})), Ledger()
    sink = endpoint.sink(site)
    await sink.open(ledger.settled)
    yield sink, ledger
    await sink.close()
    await site.close()


class TestWhatIsSent:
    async def test_headers_and_method(self, called: HttpSinkRig) -> None:
        async with sending(Http(called.to, method="PUT")) as (sink, ledger):
            sink.send(
                [
                    Message(
                        called.to, b"<a/>", id="ä 1", key=b"k", headers={"Content-Type": "text/xml", "tenant": "blue"}
                    )
                ]
            )
            sink.send([Message(called.to, None, id="2")])
            await sink.flush()
            assert ledger.once(2)
            one, other = sorted(await called.received(2), key=lambda record: record.value or b"", reverse=True)
            assert (one.headers["idempotency-key"], one.headers["content-type"]) == ("%C3%A4%201", "text/xml")
            assert (one.headers["ce-partitionkey"], one.headers["tenant"]) == ("k", "blue")
            assert other.value == b""

    async def test_what_may_work_later_is_tried_again(
        self, called: HttpSinkRig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("penstock.connectors.http.sink.FIRST", 0.001)
        said = iter([500, 502, 503, 429, 408, 425])

        async def answer(_: web.BaseRequest, record: Record) -> web.Response:
            status = next(said, 200)
            if status == 200:
                called.records.append(record)
            return web.Response(status=status, headers={"Retry-After": "0"}, text="no")

        called.answer = answer
        async with sending(called.endpoint) as (sink, ledger):
            sink.send([Message(called.to, b"1", id="1")])
            await sink.flush()
            assert ledger.once(1) and len(called.records) == 1
            assert next(said, None) is None

    @pytest.mark.parametrize(
        ("status", "reason"), [(400, "400 Bad Request because"), (404, "404"), (307, "redirects to /other")]
    )
    async def test_what_is_refused_is_undeliverable(self, called: HttpSinkRig, status: int, reason: str) -> None:
        async def answer(_: web.BaseRequest, record: Record) -> web.Response:
            return web.Response(status=status, text="because", headers={"Location": "/other"})

        called.answer = answer
        async with sending(called.endpoint) as (sink, ledger):
            sink.send([Message(called.to, b"1", id="1")])
            await sink.flush()
            [error] = ledger.outcomes["1"]
            assert isinstance(error, Undeliverable) and reason in str(error) and called.to in str(error)
            assert sink.problem is None

    async def test_time_out(self, called: HttpSinkRig) -> None:
        released = asyncio.Event()

        async def answer(_: web.BaseRequest, record: Record) -> web.Response:
            await released.wait()
            return web.Response()

        called.answer = answer
        async with sending(Http(called.to, timeout="50ms", hold="0s")) as (sink, ledger):
            sink.send([Message(called.to, b"1", id="1")])
            await sink.flush()
            [error] = ledger.outcomes["1"]
            assert isinstance(error, Undeliverable) and "no answer in 0.05 s (tried for 0 s)" in str(error)
            assert sink.problem is None, "one key alone is no outage"
            released.set()

    async def test_what_http_cannot_carry_is_undeliverable(self, called: HttpSinkRig) -> None:
        async with sending(called.endpoint) as (sink, ledger):
            wrong = [
                Message("http://", b"1", id="url"),
                Message(called.to, b"1", id="header", headers={"a": "b\r\nc: d"}),
            ]
            sink.send([*wrong, Message("ftp://host/a", b"1", id="scheme"), Message(called.to, b"1", id="good")])
            await sink.flush()
            assert ledger.confirmed() == {"good"}
            assert all(isinstance(ledger.outcomes[message.id][0], Undeliverable) for message in ledger.failed)
            assert len(ledger.failed) == 3

    async def test_requests_under_way_are_bounded(self, called: HttpSinkRig) -> None:
        released, running, most = asyncio.Event(), 0, 0

        async def answer(_: web.BaseRequest, record: Record) -> web.Response:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await released.wait()
            running -= 1
            return web.Response()

        called.answer = answer
        async with sending(called.endpoint) as (sink, ledger):
            sink.send([Message(called.to, b"1", id=str(number)) for number in range(CONCURRENT + 50)])
            await until(lambda: running == CONCURRENT)
            released.set()
            await sink.flush()
            assert ledger.once(CONCURRENT + 50) and most == CONCURRENT

    async def test_leaving_does_not_wait_for_another_attempt(self, called: HttpSinkRig) -> None:
        await called.down()
        async with sending(Http(called.to, hold="1h")) as (sink, ledger):
            assert isinstance(sink, HttpSink)
            sink.send([Message(called.to, b"%d" % number, id=str(number)) for number in range(150)])
            await until(lambda: sink.problem is not None)
            assert not ledger.outcomes, "they are held"
        assert len(ledger.outcomes) == 150
        assert all(isinstance(outcome, Unavailable) for [outcome] in ledger.outcomes.values())

    @pytest.mark.parametrize(
        ("said", "seconds"), [("", 0.0), ("3", 3.0), ("soon", 0.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)]
    )
    def test_retry_after(self, said: str, seconds: float) -> None:
        assert retry_after(said) == seconds

    def test_retry_after_a_date(self) -> None:
        assert retry_after("Fri, 31 Dec 9999 23:59:59 GMT") > 3600
