"""Bytes to payloads and back, and what is read out of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.connectors import Batch, Partition
from penstock.errors import BadEvent
from penstock.stages.payload import admits_none, decoder, encode, getter, is_mapping, refused, text_of


class Reading(msgspec.Struct, frozen=True, rename="camel"):
    machine_id: str
    value: float
    line_number: int | None = None


@dataclass
class Data:
    machine_id: str
    value: float
    line_number: int | None = None


class Typed(TypedDict):
    machine_id: str
    value: float
    line_number: int | None


class Named(NamedTuple):
    machine_id: str
    value: float
    line_number: int | None = None


class Model(pydantic.BaseModel):
    machine_id: str
    value: float
    line_number: int | None = None


def caught(**captures: str) -> Batch:
    batch = Batch(Partition("t", 0), [b""])
    batch.captures = [captures]
    return batch


# -- in ------------------------------------------------------------------------------------------------------------


def test_bytes_become_the_schema() -> None:
    assert decoder(Reading, None, False)(b'{"machineId": "m", "value": 1}') == Reading("m", 1.0)
    assert decoder(Model, None, False)(b'{"machine_id": "m", "value": 1}') == Model(machine_id="m", value=1.0)
    assert decoder(Any, None, False)(b"[1]") == [1]
    assert decoder(str, bytes.decode, False)(b"text") == "text"


def test_captures_fill_fields_with_the_type_they_have() -> None:
    decode = decoder(Reading, None, True)
    found = decode(b'{"value": 1, "machineId": "forged"}', caught(machine_id="m7", line_number="3"), 0)
    assert found == Reading("m7", 1.0, 3)


@pytest.mark.parametrize("schema", [Data, Model])
def test_captures_fill_other_records_too(schema: Any) -> None:
    found = decoder(schema, None, True)(b'{"value": 1}', caught(machine_id="m7", line_number="3"), 0)
    assert found == schema(machine_id="m7", value=1.0, line_number=3)


def test_captures_fill_dicts() -> None:
    found = decoder(Typed, None, True)(b'{"value": 1}', caught(machine_id="m7", line_number="3"), 0)
    assert found == {"machine_id": "m7", "value": 1.0, "line_number": 3}
    assert decoder(dict[str, Any], None, True)(b"{}", caught(any="x"), 0) == {"any": "x"}


def test_captures_fill_what_a_decoder_of_the_user_made() -> None:
    def decode(raw: bytes) -> Reading:
        return Reading("", float(raw))

    assert decoder(Reading, decode, True)(b"2.5", caught(machine_id="m7"), 0) == Reading("m7", 2.5)


def test_a_capture_that_does_not_fit_names_its_field() -> None:
    with pytest.raises(BadEvent) as bad:
        decoder(Reading, None, True)(b'{"value": 1}', caught(machine_id="m", line_number="three"), 0)
    assert (bad.value.path, bad.value.status) == ("$.lineNumber", 422)
    assert bad.value.reason.endswith("at $.lineNumber")


def test_a_payload_that_cannot_take_captures() -> None:
    with pytest.raises(BadEvent, match=r"^the payload is list, not an object: it cannot take machine_id$"):
        decoder(Reading, None, True)(b"[1]", caught(machine_id="m"), 0)


def test_a_record_without_captures_is_decoded_plainly() -> None:
    batch = Batch(Partition("t", 0), [b""])
    assert decoder(Reading, None, True)(b'{"machineId": "m", "value": 1}', batch, 0) == Reading("m", 1.0)


def said(schema: Any, raw: bytes) -> BadEvent:
    with pytest.raises(Exception) as error:  # noqa: PT011
        decoder(schema, None, False)(raw)
    found = refused(error.value)
    assert found is not None
    return found


@pytest.mark.parametrize("schema", [Reading, Model])
@pytest.mark.parametrize(
    "raw",
    [b"{", b"", b"\xff\xfe", b'{"machine_id": "m", "value": NaN}', b'{"machineId": "\xff", "machine_id": "\xff"}'],
)
def test_what_is_no_json_is_told_so(schema: Any, raw: bytes) -> None:
    assert said(schema, raw).status == 400


def test_what_is_nested_too_deeply_is_told_so() -> None:
    assert said(Any, b"[" * 100_000).status == 400


def test_what_does_not_fit_is_told_with_its_path() -> None:
    bad = said(Reading, b'{"machineId": "m", "value": "high"}')
    assert (bad.reason, bad.path, bad.status) == ("Expected `float`, got `str` at $.value", "$.value", 422)
    assert said(Reading, b"{}").path == "$"
    bad = said(Model, b'{"machine_id": "m", "value": "high"}')
    assert (bad.path, bad.status) == ("$.value", 422)


def test_other_errors_are_not_about_the_bytes() -> None:
    assert refused(ZeroDivisionError()) is None
    assert refused(ValueError("mine")) is None
    bad = BadEvent("as it is")
    assert refused(bad) is bad


def test_whether_a_tombstone_is_a_payload() -> None:
    assert admits_none(Reading | None)
    assert not admits_none(Reading)
    assert not admits_none(Any)


# -- out -----------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(JSON)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert json.loads(encode(value)) == value
    assert decoder(Any, None, False)(encode(value)) == value


def test_payloads_of_every_kind_are_written() -> None:
    import numpy as np

    expected = {"machine_id": "m", "value": 1.5, "line_number": None}
    for one in (Data("m", 1.5), Model(machine_id="m", value=1.5)):
        assert json.loads(encode(one)) == expected
    assert encode(b"as they are") == b"as they are"
    assert encode({"scores": np.array([1.5]), "n": np.int64(2)}) == b'{"scores":[1.5],"n":2}'
    with pytest.raises(
        TypeError, match=r"^object cannot be written as JSON: act on a Struct, a dataclass, a dict or bytes$"
    ):
        encode(object())


# -- read out ------------------------------------------------------------------------------------------------------


def test_fields_paths_tuples_and_functions() -> None:
    record = {"owner": {"id": 7}, "card": "c"}
    assert getter("card", True)(record) == "c"
    assert getter("owner.id", True)(record) == 7
    assert getter(("card", "owner.id"), True)(record) == ("c", 7)
    assert getter(len, True)(record) == 2
    assert getter("machine_id", False)(Reading("m", 1.0)) == "m"


@pytest.mark.parametrize(
    ("schema", "mapping"),
    [(Any, True), (dict, True), (dict[str, int], True), (Typed, True), (Reading, False), (Named, False)],
)
def test_which_payloads_are_read_by_key(schema: Any, mapping: bool) -> None:
    assert is_mapping(schema) is mapping


@given(st.lists(st.text(), min_size=2, max_size=4).map(tuple), st.lists(st.text(), min_size=2, max_size=4).map(tuple))
def test_different_tuples_are_different_texts(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert (text_of(one) == text_of(other)) == (one == other)


def test_keys_as_text() -> None:
    assert text_of(("a|b", "c")) != text_of(("a", "b|c"))
    assert [text_of(key) for key in (None, 7, 1.5, True, b"\xff", "k")] == ["", "7", "1.5", "True", "\ufffd", "k"]
