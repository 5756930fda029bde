"""CloudEvents in every mode: round trips, and what is refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.connectors import Message
from penstock.connectors.cloudevents.attributes import Attributes
from penstock.connectors.cloudevents.envelope import unwrap, unwrap_batch
from penstock.connectors.cloudevents.modes import BATCH, STRUCTURED, read, write
from penstock.connectors.header import decoded, encoded
from penstock.connectors.rfc3339 import instant, rfc3339
from penstock.errors import BadEvent

CORE = {"specversion": "1.0", "id": "7", "source": "/terminals/9", "type": "payment.made"}
# Texts that every transport can carry: no surrogates, which are not Unicode.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
TIMES = st.floats(-6e10, 2.5e11)


def envelope(**fields: Any) -> bytes:
    return json.dumps({**CORE, **fields}).encode()


def binary(prefix: str, **changes: str | None) -> list[tuple[str, str]]:
    return [(prefix + name, value) for name, value in {**CORE, **changes}.items() if value is not None]


def attributes_of(found: tuple[Any, Attributes | None]) -> Attributes:
    assert found[1] is not None, found[0]
    return found[1]


class TestPlain:
    def test_nothing_said_is_nothing_changed(self) -> None:
        assert read(b"{}") == (b"{}", None)
        assert read(None, [("tenant", b"blue")]) == (None, None)

    def test_other_content_types_are_plain(self) -> None:
        assert read(b"1", [("content-type", b"text/plain")]) == (b"1", None)


class TestBinary:
    @pytest.mark.parametrize("prefix", ["ce_", "ce-", ""])
    def test_attributes_extensions_and_headers(self, prefix: str) -> None:
        headers = binary(prefix, subject="card-1", time="2024-05-01T12:00:00Z", trace="x")
        value, found = read(b"1", [*headers, ("tenant", "blue")], prefix=prefix, content_type="application/json")
        assert value == b"1"
        assert found == Attributes(
            "7",
            "/terminals/9",
            "payment.made",
            "card-1",
            1714564800.0,
            "application/json",
            {"trace": "x", "tenant": "blue"},
        )

    def test_values_may_be_bytes(self) -> None:
        headers = [(name, value.encode()) for name, value in binary("ce_", subject="Käse")]
        assert attributes_of(read(b"1", headers)).subject == "Käse"

    @pytest.mark.parametrize("missing", ["id", "source", "type"])
    def test_a_missing_attribute_is_named(self, missing: str) -> None:
        for headers in (binary("ce_", **{missing: None}), binary("ce_", **{missing: ""})):
            value, found = read(b"1", headers)
            assert isinstance(value, BadEvent) and found is None
            assert value.path == missing and missing in value.reason

    @pytest.mark.parametrize("version", ["0.3", "1.1", "2.0", ""])
    def test_unknown_versions(self, version: str) -> None:
        value, _ = read(b"1", binary("ce_", specversion=version))
        assert isinstance(value, BadEvent) and value.path == "specversion"

    def test_attributes_are_utf8(self) -> None:
        value, _ = read(b"1", [*binary("ce_"), ("ce_subject", b"\xff")])
        assert isinstance(value, BadEvent) and value.path == "subject"

    def test_other_headers_may_be_anything(self) -> None:
        found = attributes_of(read(b"1", [*binary("ce_"), ("trace-bin", b"\xff"), ("empty", None)]))
        assert found.headers == {"trace-bin": "\N{REPLACEMENT CHARACTER}", "empty": ""}

    @given(TEXT, TEXT, TEXT, TEXT, TIMES, st.sampled_from(["ce_", "ce-", ""]))
    def test_what_is_written_is_read(
        self, id: str, source: str, type: str, subject: str, time: float, prefix: str
    ) -> None:
        message = Message("t", b"1", id=id, source=source, type=type, subject=subject, time=time)
        found = attributes_of(read(b"1", list(write(message, prefix).items()), prefix=prefix))
        assert (found.id, found.source, found.type, found.subject) == (id, source, type, subject)
        assert found.time == pytest.approx(time, abs=1e-6, rel=1e-15)

    def test_what_is_no_cloudevent_is_not_written_as_one(self) -> None:
        assert write(Message("t", b"1", id="1", type="t")) == {}

    @pytest.mark.parametrize("time", [1.7e12 * 1e3, float("inf"), float("nan"), -1e300])
    def test_a_time_of_no_calendar_is_left_out(self, time: float) -> None:
        assert "ce_time" not in write(Message("t", b"1", id="1", source="s", type="t", time=time))


class TestStructured:
    def test_payload_bytes_are_kept(self) -> None:
        body = b'{"specversion":"1.0","id":"7","source":"/a","type":"t","data": {"n" : 1.50} }'
        value, found = read(body, content_type=f"{STRUCTURED}; charset=utf-8")
        assert value == b'{"n" : 1.50}'
        assert attributes_of((value, found)).id == "7"

    def test_the_content_type_may_be_a_header(self) -> None:
        value, found = read(envelope(data=1, trace="x"), [("content-type", STRUCTURED.encode()), ("tenant", b"blue")])
        assert value == b"1"
        assert attributes_of((value, found)).headers == {"content-type": STRUCTURED, "tenant": "blue", "trace": "x"}

    @given(JSON)
    def test_data_survives(self, data: Any) -> None:
        value, _ = unwrap(envelope(data=data))
        assert value is not None and json.loads(value) == data

    @given(st.binary())
    def test_binary_data_survives(self, data: bytes) -> None:
        assert unwrap(envelope(data_base64=base64.b64encode(data).decode()))[0] == data

    def test_text_of_another_type_is_its_text(self) -> None:
        assert unwrap(envelope(data="<a/>", datacontenttype="text/xml"))[0] == b"<a/>"
        assert unwrap(envelope(data="a", datacontenttype="application/vnd.x+json"))[0] == b'"a"'
        assert unwrap(envelope(data="a"))[0] == b'"a"'

    def test_no_data_is_none(self) -> None:
        assert unwrap(envelope())[0] is None
        assert unwrap(envelope(data=None))[0] == b"null"

    def test_extensions_are_text_numbers_and_booleans(self) -> None:
        found = unwrap(envelope(a=1, b=True, c="x", d=None, dataschema="/s"))[1]
        assert found.headers == {"a": "1", "b": "true", "c": "x", "dataschema": "/s"}

    @pytest.mark.parametrize(
        ("body", "path"),
        [
            (b"", ""),
            (b'{"specversion": ', ""),
            (b"[]", ""),
            (b"\xff", ""),
            (b'{"specversion":"1.0","id":"\xff","source":"/a","type":"t"}', "$.id"),
            (b"[" * 100_000, ""),
            (b'{"data":' + b"[" * 100_000, ""),
            (envelope(specversion="0.3"), "specversion"),
            (envelope(specversion=1.0), "$.specversion"),
            (envelope(specversion=None), "specversion"),
            (envelope(id=7), "$.id"),
            (envelope(id=""), "id"),
            (envelope(type=None), "type"),
            (envelope(time="yesterday"), "time"),
            (envelope(time=1714564800), "$.time"),
            (envelope(trace={"a": 1}), "$.trace"),
            (envelope(trace=1.5), "$.trace"),
            (envelope(data_base64="%%%"), "$.data_base64"),
            (envelope(data_base64="QQ"), "$.data_base64"),
            (envelope(data_base64="QQ==\n"), "$.data_base64"),
            (envelope(data_base64=7), "$.data_base64"),
            (envelope(data_base64="ä"), "$.data_base64"),
            (envelope(data=1, data_base64="QQ=="), "$.data_base64"),
        ],
    )
    def test_bad_envelopes(self, body: bytes, path: str) -> None:
        value, found = read(body, content_type=STRUCTURED)
        assert isinstance(value, BadEvent) and found is None
        assert value.path == path and value.status == 400

    @pytest.mark.parametrize("kind", ["application/cloudevents+avro", "application/cloudevents", BATCH])
    def test_other_formats_are_refused(self, kind: str) -> None:
        value, _ = read(b"[]", content_type=kind)
        assert isinstance(value, BadEvent) and value.status == 415 and kind in value.reason

    @given(st.binary())
    def test_no_bytes_are_a_crash(self, body: bytes) -> None:
        read(body, content_type=STRUCTURED)
        read(body, [("ce_specversion", "1.0"), ("ce_id", body), ("ce_source", body), ("ce_type", body)])


class TestBatch:
    def test_each_stands_for_itself(self) -> None:
        good, bad = envelope(data={"n": 1}), envelope(id="")
        found = unwrap_batch(b"[" + good + b", " + bad + b"," + good + b"]")
        assert [json.loads(found[at][0]) for at in (0, 2) if isinstance(found[at][0], bytes)] == [{"n": 1}, {"n": 1}]  # type: ignore[arg-type]
        assert isinstance(found[1][0], BadEvent) and found[1][2] == bad

    @pytest.mark.parametrize("body", [b"", b"{}", b"[1,", b"\xff"])
    def test_what_is_no_array_is_refused_whole(self, body: bytes) -> None:
        with pytest.raises(BadEvent):
            unwrap_batch(body)

    def test_empty(self) -> None:
        assert unwrap_batch(b"[]") == []


class TestTimes:
    @given(TIMES)
    def test_round_trip_to_the_microsecond(self, time: float) -> None:
        assert instant(rfc3339(time)) == pytest.approx(time, abs=1e-6, rel=1e-15)

    @pytest.mark.parametrize(
        ("text", "time"),
        [
            ("1970-01-01T00:00:00Z", 0.0),
            ("1970-01-01t00:00:00z", 0.0),
            ("1970-01-01T00:00:00.123456789Z", 0.123457),
            ("1969-12-31T23:59:59.5Z", -0.5),
            ("2016-12-31T23:59:60Z", 1483228800.0),
            ("2024-05-01T14:00:00+02:00", 1714564800.0),
        ],
    )
    def test_rfc3339(self, text: str, time: float) -> None:
        assert instant(text) == pytest.approx(time, abs=1.1e-6)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "2024-05-01",
            "2024-05-01T12:00:00",
            "2024-13-01T12:00:00Z",
            "2024-02-30T12:00:00Z",
            "20240501T120000Z",
        ],
    )
    def test_everything_else_is_refused(self, text: str) -> None:
        with pytest.raises(BadEvent, match="RFC 3339"):
            instant(text)


class TestHttpHeaders:
    @given(TEXT)
    def test_round_trip(self, value: str) -> None:
        header = encoded(value)
        assert all("!" <= each <= "~" and each != '"' for each in header)
        assert decoded(header) == value

    def test_the_specifications_example(self) -> None:
        assert encoded("Euro € \U0001f600") == "Euro%20%E2%82%AC%20%F0%9F%98%80"
        assert decoded("Euro%20%e2%82%ac%20%F0%9F%98%80") == "Euro € \U0001f600"
        assert decoded('"a \\"b\\""') == 'a "b"'
