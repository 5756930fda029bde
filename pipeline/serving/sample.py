"""A made-up payload that fits a schema, for a command line that people can copy."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

from penstock.pipeline.declaration.annotations import fields as fields_of

_PLAIN: dict[Any, Any] = {str: "", int: 1, float: 1.5, bool: True, bytes: "", Any: None, type(None): None}


def sample(schema: Any) -> Any:
    """A value of this type, as JSON can carry it. What has a default is left out.

    >>> from msgspec import Struct
    >>> class Payment(Struct):
    ...     id: str
    ...     amount: float
    ...     currency: str = "EUR"
    >>> sample(Payment)
    {'id': 'id-1', 'amount': 1.5}
    """
    return _value(schema, "text", 0)


def _value(kind: Any, name: str, depth: int) -> Any:
    if kind is str:
        return f"{name}-1"
    if kind in _PLAIN:
        return _PLAIN[kind]
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return inner[0]
    if origin in (Union, types.UnionType):
        return None if type(None) in inner else _value(inner[0], name, depth)
    if origin in (list, tuple, set, frozenset):
        return []
    if kind in (dict, list) or origin in (dict, Mapping) or depth > 4:
        return [] if kind is list else {}
    fields = fields_of(kind)
    if fields is None:
        return None
    needed = _needed(kind, fields)
    return {field: _value(fields[field], field, depth + 1) for field in needed}


def _needed(kind: Any, fields: Mapping[str, Any]) -> list[str]:
    """The fields without a default."""
    import dataclasses

    import msgspec

    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [field.name for field in msgspec.structs.fields(kind) if field.required]
    if dataclasses.is_dataclass(kind):
        missing = dataclasses.MISSING
        found = dataclasses.fields(kind)
        return [one.name for one in found if one.default is missing and one.default_factory is missing]
    return list(fields)
