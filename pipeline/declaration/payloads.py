"""Checking what a declaration says about payloads: schemas, fields, keys, templates."""

from __future__ import annotations

import inspect
from datetime import datetime
from typing import Any

import msgspec

from penstock.errors import DeclarationError, Where
from penstock.pipeline.declaration.annotations import field_type, fits, known, label, without_none
from penstock.pipeline.declaration.callables import hints, kind_of, signature
from penstock.pipeline.declaration.wiring import hint


def check_schema(schema: Any, decode: Any, where: Where) -> None:
    """Refuse a type that bytes cannot become."""
    if decode is not None:
        if not callable(decode):
            raise DeclarationError(f"decode= is {decode!r}: give a function from bytes to {label(schema)}", where)
        made = hints(decode).found.get("return", Any)
        if not fits(made, schema):
            raise DeclarationError(f"decode= returns {label(made)}, but schema= is {label(schema)}", where)
        return
    if hasattr(schema, "model_validate_json"):
        return
    try:
        msgspec.json.Decoder(schema)
        plain = plain_class(schema)
    except Exception as error:  # what a type cannot be decoded for: a TypeError, a NameError of its annotations
        if "must be tagged" in str(error):
            raise DeclarationError(
                f"schema= {label(schema)}: JSON does not tell these types apart, so declare each with a tag, "
                "class Refund(Struct, tag=True)",
                where,
            ) from None
        raise DeclarationError(f"schema= {label(schema)} cannot be read from JSON: {error}", where) from None
    if plain is not None:
        inside = "" if plain is schema else f" holds {label(plain)}, which"
        raise DeclarationError(
            f"schema= {label(schema)}{inside} is a plain class: make it a msgspec Struct or a dataclass, "
            "or say how bytes become one with decode=",
            where,
        )


def plain_class(kind: Any) -> Any:
    """The first class in a type that nothing knows how to decode; None where there is none."""
    return _plain_class(msgspec.inspect.type_info(kind), set())


def _plain_class(info: Any, seen: set[int]) -> Any:
    if isinstance(info, msgspec.inspect.CustomType):
        return info.cls
    if isinstance(info, msgspec.inspect.Field):
        return _plain_class(info.type, seen)
    if not isinstance(info, msgspec.inspect.Type) or id(info) in seen:
        return None
    seen.add(id(info))
    for name in info.__struct_fields__:
        value = getattr(info, name)
        for one in value if isinstance(value, tuple) else (value,):
            if (found := _plain_class(one, seen)) is not None:
                return found
    return None


def check_field(path: Any, payload: Any, where: Where, what: str) -> None:
    """Refuse the path of a field that the payload does not have."""
    if not isinstance(path, str) or not path:
        raise DeclarationError(f"{what} {path!r} is no field: write its name, for example 'card'", where)
    try:
        field_type(payload, path)
    except KeyError as error:
        name = str(error.args[0])
        raise DeclarationError(
            f"{what} {label(payload)} has no field {name!r}{hint(name, known(payload))}", where
        ) from None


def check_by(by: Any, payload: Any, where: Where, what: str) -> None:
    """Refuse what is not a field, a tuple of fields or a function of the payload."""
    if by is None:
        return
    if isinstance(by, str):
        check_field(by, payload, where, what)
    elif isinstance(by, tuple) and by:
        for path in by:
            check_field(path, payload, where, what)
    elif callable(by):
        _check_function(by, payload, where, what)
    else:
        raise DeclarationError(
            f"{what} is {by!r}: it is a field ('card'), a tuple of fields or a function of the payload", where
        )


def _check_function(by: Any, payload: Any, where: Where, what: str) -> None:
    name = getattr(by, "__name__", repr(by))
    if kind_of(by) != "plain":
        raise DeclarationError(f"{what} {name}() is a {kind_of(by)} function: a key is read with a plain one", where)
    found = signature(by)
    if found is None:
        return
    try:
        found.bind(payload)
    except TypeError:
        raise DeclarationError(
            f"{what} {name}() is called with the payload alone: it takes one argument", where
        ) from None
    first = next(iter(found.parameters.values()))
    wanted = Any if first.kind is inspect.Parameter.VAR_POSITIONAL else hints(by).found.get(first.name, Any)
    if not fits(payload, wanted):
        raise DeclarationError(f"{what} {name}() takes {label(wanted)}, but the payload is {label(payload)}", where)


def check_time(path: Any, payload: Any, where: Where) -> None:
    """Refuse a field that cannot say when something happened."""
    check_field(path, payload, where, "time=")
    kind = field_type(payload, path)
    if not any(fits(member, float) for member in without_none(kind)):
        dates = any(fits(member, datetime) for member in without_none(kind))
        advice = "declare the field as a number, or compute one in decode=" if dates else "name a number"
        raise DeclarationError(
            f"time= {path!r} is {label(kind)}: event time is seconds since the epoch, so {advice}", where
        )
