"""Bytes to payload and back, and what is read out of a payload: keys, identities, captured fields."""

from __future__ import annotations

import operator
import types
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from penstock.connectors import Batch
from penstock.errors import BadEvent

Key = str | tuple[Any, ...] | int | None
By = str | tuple[str, ...] | Callable[..., Any]


def decoder(schema: Any, decode: Callable[[bytes], Any] | None, captures: bool) -> Callable[..., Any]:
    """A function from a record's bytes to its payload. It raises what `refused` turns into a `BadEvent`.

    With `captures` it also takes the batch and the record's index, and fills the fields that the endpoint's
    template caught.

    >>> decoder(dict[str, int], None, False)(b'{"n": 1}')
    {'n': 1}
    """
    plain = decode or _json(schema)
    if not captures:
        return plain
    slots = _slots(schema)

    def fill(value: bytes, batch: Batch, index: int) -> Any:
        if batch.captures is None:
            return plain(value)
        caught = batch.captures[index]
        found = msgspec.json.decode(value) if decode is None else msgspec.to_builtins(decode(value))
        if not isinstance(found, dict):
            raise BadEvent(f"the payload is {type(found).__name__}, not an object: it cannot take {', '.join(caught)}")
        for name, text in caught.items():
            wire, kind = slots.get(name, (name, str))
            try:
                found[wire] = msgspec.convert(text, kind, strict=False)
            except msgspec.ValidationError as error:
                raise BadEvent(f"{error} at $.{wire}", path=f"$.{wire}", status=422) from None
        return convert(found, schema)

    return fill


def _json(schema: Any) -> Callable[[bytes], Any]:
    validate = getattr(schema, "model_validate_json", None)
    if validate is None:
        return msgspec.json.Decoder(schema).decode

    def decode(value: bytes) -> Any:
        if b"NaN" in value or b"Infinity" in value:  # pydantic takes these for numbers, JSON does not
            msgspec.json.decode(value)
        return validate(value)

    return decode


def convert(value: Any, schema: Any) -> Any:
    """Builtin values to the schema's type."""
    validate = getattr(schema, "model_validate", None)
    return validate(value) if validate is not None else msgspec.convert(value, schema)


def refused(error: BaseException) -> BadEvent | None:
    """What an error of decoding says about the bytes; None where it is not about them.

    >>> refused(msgspec.ValidationError("Expected `float`, got `str` - at `$.amount`")).path
    '$.amount'
    """
    if isinstance(error, BadEvent):
        return error
    if isinstance(error, msgspec.ValidationError):
        text, _, place = str(error).partition(" - at `")
        return BadEvent(f"{text} at {place.rstrip('`')}" if place else text, path=place.rstrip("`") or "$", status=422)
    if isinstance(error, msgspec.DecodeError | UnicodeDecodeError | RecursionError):
        return BadEvent(f"not valid JSON: {error}", status=400)
    errors = getattr(error, "errors", None)
    if isinstance(error, ValueError) and errors is not None:  # pydantic's ValidationError
        first = errors()[0]
        path = ".".join(["$", *(str(part) for part in first.get("loc", ()))])
        status = 400 if first.get("type") == "json_invalid" else 422
        return BadEvent(f"{first.get('msg', error)} at {path}", path=path, status=status)
    return None


def admits_none(schema: Any) -> bool:
    """Whether a record without a value (a tombstone) is a payload of this type."""
    return get_origin(schema) in (Union, types.UnionType) and type(None) in get_args(schema)


_ENCODER = msgspec.json.Encoder(enc_hook=lambda value: _builtin(value))


def encode(value: Any) -> bytes:
    """A payload as JSON bytes; bytes are taken as they are. Raises TypeError for what JSON cannot hold.

    >>> encode({"blocked": True})
    b'{"blocked":true}'
    """
    return value if value.__class__ is bytes else _ENCODER.encode(value)


def encode_payload(value: Any) -> bytes:
    """A payload as JSON bytes that the `decoder` of its type reads again, bytes too."""
    return _ENCODER.encode(value)


_ANY = msgspec.json.Encoder(enc_hook=lambda value: _builtin_or_repr(value))


def encode_any(value: Any) -> bytes:
    """Anything as JSON bytes: what JSON cannot hold, as its `repr`."""
    return _ANY.encode(value)


def _builtin_or_repr(value: Any) -> Any:
    try:
        return _builtin(value)
    except TypeError:
        return repr(value)


def _builtin(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON: act on a Struct, a dataclass, a dict or bytes")


def getter(by: By, is_mapping: bool) -> Callable[[Any], Any]:
    """A function that reads a field path, a tuple of them, or whatever a callable returns.

    >>> getter("owner.id", True)({"owner": {"id": 7}})
    7
    """
    if isinstance(by, tuple):
        parts = [getter(one, is_mapping) for one in by]
        return lambda payload: tuple(part(payload) for part in parts)
    if not isinstance(by, str):
        return by
    if not is_mapping:
        return operator.attrgetter(by)
    first, *rest = by.split(".")
    if not rest:
        return operator.itemgetter(first)
    inner = getter(".".join(rest), True)
    return lambda payload: inner(payload[first])


def is_mapping(schema: Any) -> bool:
    """Whether payloads of this type are read by key rather than by attribute."""
    kind = get_origin(schema) or schema
    return kind is Any or (isinstance(kind, type) and issubclass(kind, Mapping)) or hasattr(kind, "__total__")


def text_of(key: Any) -> str:
    """A key as text: what goes on the wire and into messages.

    Different tuples are different texts: a bar inside a part is escaped.

    >>> text_of(("DE", 7)), text_of(b"k"), text_of(None)
    ('DE|7', 'k', '')
    """
    if key.__class__ is str:
        return key
    if key is None:
        return ""
    if isinstance(key, tuple):
        return "|".join(text_of(part).replace("\\", "\\\\").replace("|", "\\|") for part in key)
    return key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key)


@lru_cache(maxsize=64)
def _slots(schema: Any) -> dict[str, tuple[str, Any]]:
    """By field: its name in JSON and the type that a captured text becomes."""
    found: dict[str, tuple[str, Any]] = {}
    for member in get_args(schema) if get_origin(schema) in (Union, types.UnionType) else (schema,):
        kind = get_origin(member) or member
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            found |= {field.name: (field.encode_name, field.type) for field in msgspec.structs.fields(kind)}
        elif isinstance(kind, type) and not hasattr(kind, "model_fields"):  # pydantic converts text by itself
            found |= {name: (name, hint) for name, hint in _hints(kind).items()}
    return found


def _hints(kind: type) -> dict[str, Any]:
    try:
        return get_type_hints(kind)
    except NameError:  # known to a type checker alone; then `decode` makes something of the text
        return {}
