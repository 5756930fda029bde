"""HTTP paths as sources: what arrives, over real sockets, and what is turned away."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from penstock.connectors.http.endpoint import Http
from penstock.connectors.http.source import HttpSource
from penstock.errors import ConfigError
from tests.connectors.contract import SourceContract
from tests.connectors.http.rig import BATCH, CORE, JSON, LINES, STRUCTURED, HttpSourceRig, echoing, opened
from tests.connectors.rig import take, until
from tests.servers.tools import program


class TestHttpSource(SourceContract):
    @pytest.fixture
    async def rig(self) -> AsyncIterator[HttpSourceRig]:
        rig = HttpSourceRig()
        yield rig
        await rig.close()


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
