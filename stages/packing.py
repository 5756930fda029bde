"""Values of a declared type as the bytes that the store keeps, and back, exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec


class Packing(NamedTuple):
    """`unpack` raises ValueError for bytes that are no value of the type, `pack` TypeError for what cannot be kept."""

    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Any]


def packing(kind: Any) -> Packing:
    """MessagePack, which keeps every float and bytes as they are; a pydantic model as its own JSON.

    Raises TypeError for a type that cannot be kept.

    >>> pack, unpack = packing(dict[str, float])
    >>> unpack(pack({"mean": 0.1}))
    {'mean': 0.1}
    """
    validate = getattr(kind, "model_validate_json", None)
    if validate is not None:
        return Packing(lambda value: value.model_dump_json().encode(), validate)
    return Packing(msgspec.msgpack.Encoder(enc_hook=_plain).encode, msgspec.msgpack.Decoder(kind).decode)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return value.tolist()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"a {type(value).__name__} cannot be kept: use numbers, text, collections, Structs, dataclasses")
