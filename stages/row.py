"""From what a store keeps to a typed value: rows of hash fields, whole hashes, JSON."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Annotated, Any, Final, Generic, TypeVar, get_args, get_origin, get_type_hints

import msgspec

T = TypeVar("T")

ABSENT: Final = object()
"""What stands for a value that the store does not have."""


class Bad:
    """In place of a value: why what is kept under a key can never become one."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Record(Generic[T]):
    """Reads a Struct, a dataclass or a pydantic model out of a hash that has its fields by name.

    A missing field takes its default, or None where it may be None. What is neither number nor text is JSON in its
    field.

    Numbers are what features are made of, so all of a row's, or of many rows', are converted in one call: joined by
    commas they are a JSON array. No value can pass for another that way: one with a comma or a bracket makes the array
    too long, and every irregular row is read again field by field, which also says what is wrong with it.

    >>> class Card(msgspec.Struct):
    ...     mean: float
    ...     holder: str = "nobody"
    >>> Record(Card).read([b"41.5", None])
    Card(mean=41.5, holder='nobody')
    >>> Record(Card).read([b"much", b"Ann"])
    Traceback (most recent call last):
    ValueError: its field 'mean' is 'much': Expected `float`, got `str`
    """

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        self._fields = fields(kind)
        self.names = [field.stored for field in self._fields]
        numbers = [at for at, field in enumerate(self._fields) if field.number]
        others = [at for at, field in enumerate(self._fields) if not field.number]
        types = tuple(self._fields[at].type for at in numbers)
        # Decoding into a tuple checks the length too.
        numbered: Any = tuple.__class_getitem__(types)
        self._numbers = msgspec.json.Decoder(numbered, strict=False).decode
        self._many = msgspec.json.Decoder(list[numbered], strict=False).decode
        self._pick = _picker(numbers)
        self._others = [(at, self._fields[at].convert) for at in others]
        self._order = None if others == [] else _picker([(numbers + others).index(at) for at in range(len(self.names))])
        self._regular = all(field.positional for field in self._fields)

    def read(self, row: Sequence[bytes | None]) -> T | Any:
        """The value, or `ABSENT` where the hash has none of the fields. Raises ValueError."""
        try:
            if self._order is None and self._regular:
                return self.kind(*self._numbers(b"[" + b",".join(row) + b"]"))  # type: ignore[arg-type]
            return self._mixed(row)
        except Exception:
            # The converters and the class itself may raise anything; the careful way says what and where.
            return self._careful(row)

    def read_many(self, rows: Sequence[Any]) -> list[T] | None:
        """The values of many rows in one call; None where one of them needs a closer look."""
        if self._order is not None or not self._regular:
            return None
        try:
            numbers = self._many(b"[[" + b"],[".join([b",".join(row) for row in rows]) + b"]]")
            return [self.kind(*row) for row in numbers] if len(numbers) == len(rows) else None
        except Exception:
            return None

    def _mixed(self, row: Sequence[Any]) -> T | Any:
        values = [*self._numbers(b"[" + b",".join(self._pick(row)) + b"]")]
        for at, convert in self._others:
            values.append(convert(row[at]))
        ordered = values if self._order is None else self._order(values)
        if self._regular:
            return self.kind(*ordered)
        return self.kind(**{field.name: value for field, value in zip(self._fields, ordered, strict=True)})

    def _careful(self, row: Sequence[bytes | None]) -> T | Any:
        if row.count(None) == len(row):
            return ABSENT
        values: dict[str, Any] = {}
        for field, value in zip(self._fields, row, strict=True):
            if value is not None:
                values[field.name] = field.read(value)
            elif field.required and field.optional:
                values[field.name] = None
            elif field.required:
                raise ValueError(f"it has no field {field.stored!r}, and {self.kind.__name__} has no default for it")
        try:
            return self.kind(**values)
        except Exception as error:
            raise ValueError(f"{self.kind.__name__} refuses its fields: {error}") from error


class Mapped(Generic[T]):
    """Reads a `dict[str, V]` out of a whole hash.

    >>> Mapped(float).read({b"EUR": b"1.0", b"USD": b"1.09"})
    {'EUR': 1.0, 'USD': 1.09}
    """

    def __init__(self, value: Any) -> None:
        self._field = Field("", "", value)

    def read(self, whole: Mapping[bytes, bytes]) -> dict[str, T] | Any:
        """The dict, or `ABSENT` where it is empty, for no store keeps an empty hash. Raises ValueError."""
        if not whole:
            return ABSENT
        names = [name.decode() for name in whole]
        return {name: self._field.read(value, name) for name, value in zip(names, whole.values(), strict=True)}


def json_reader(kind: Any) -> Callable[[bytes], Any]:
    """A function that reads a JSON value; for `str` and `bytes` the value is the text or the bytes as they are."""
    if kind is bytes:
        return bytes
    if kind is str:
        return bytes.decode
    if hasattr(kind, "model_validate_json"):
        return kind.model_validate_json  # type: ignore[no-any-return]
    return msgspec.json.Decoder(kind).decode


class Field:
    """One field of a record: its name in the class and in the store, its type, and how it is read."""

    __slots__ = ("convert", "name", "positional", "required", "stored", "type")

    def __init__(self, name: str, stored: str, type: Any, required: bool = True, positional: bool = True) -> None:
        self.name = name
        self.stored = stored
        self.type = type
        self.required = required
        self.positional = positional
        self.convert = converter(type)

    @property
    def number(self) -> bool:
        """Whether it is written as JSON writes it, so that it can be converted together with others."""
        kind = get_args(self.type)[0] if get_origin(self.type) is Annotated else self.type
        return kind in (int, float, bool)

    @property
    def optional(self) -> bool:
        return type(None) in get_args(self.type)

    def read(self, value: bytes, name: str = "") -> Any:
        """The value, converted. Raises ValueError with the field's name."""
        try:
            return self.convert(value)
        except Exception as error:
            text = value[:80].decode(errors="replace")
            raise ValueError(f"its field {name or self.stored!r} is {text!r}: {error}") from None


def converter(kind: Any) -> Callable[[bytes], Any]:
    """A function that reads one field: text, or what text says (a number, a time, an enum), or JSON for what nests."""
    if kind is str or kind is Any:
        return bytes.decode
    if kind is bytes:
        return bytes
    if _nests(kind):
        return msgspec.json.Decoder(kind, strict=False).decode
    return lambda value: msgspec.convert(bytes.decode(value), kind, strict=False)


def fields(kind: Any) -> list[Field]:
    """The fields of a Struct, dataclass or pydantic model, in the order of its constructor; empty for all else."""
    if not isinstance(kind, type):
        return []
    if issubclass(kind, msgspec.Struct):
        parameters = inspect.signature(kind).parameters
        return [
            Field(each.name, each.encode_name, each.type, each.required, _positional(parameters[each.name]))
            for each in msgspec.structs.fields(kind)
        ]
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        return [
            Field(each.name, each.name, hints[each.name], _required(each), not each.kw_only)
            for each in dataclasses.fields(kind)
            if each.init
        ]
    if hasattr(kind, "model_fields") and hasattr(kind, "model_validate"):
        return [
            Field(each.alias or name, each.alias or name, each.annotation, each.is_required(), False)
            for name, each in kind.model_fields.items()
        ]
    return []


def _positional(parameter: inspect.Parameter) -> bool:
    return parameter.kind is not inspect.Parameter.KEYWORD_ONLY


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _nests(kind: Any) -> bool:
    info = msgspec.inspect.type_info(kind)
    parts = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    nested = ("fields", "item_type", "item_types", "key_type")
    return any(hasattr(part, name) for part in parts for name in nested)


def _picker(places: Sequence[int]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    if len(places) > 1:
        return itemgetter(*places)
    return lambda values: [values[place] for place in places]
