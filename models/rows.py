"""From what a features function returns to the row a model takes, compiled once for each type of features.

Where all inputs have one number type a row is bytes, ready to be joined with others into a tensor: a third of the
cost of building the array from tuples (measured, 64 rows of 20). Otherwise it is a tuple, one value a column.
"""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from keyword import iskeyword
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias, get_args, get_origin, get_type_hints, is_typeddict

import msgspec

from penstock.errors import BadEvent, DeclarationError
from penstock.models.manifest import Input, InputType

Row: TypeAlias = bytes | tuple[Any, ...]

_CODES: dict[InputType, str] = {"float32": "f", "float64": "d"}
_PYTHON: dict[InputType, type] = {"float32": float, "float64": float, "string": str}
_LARGEST = 3.4028235677973366e38  # what still rounds to a 32-bit number
_WRONG = (struct.error, TypeError, ValueError, OverflowError, AttributeError, LookupError)


class Shape(NamedTuple):
    """What is known of a type of features before there is one: its names, and how to read their values."""

    fields: dict[str, Any] | None
    values: Callable[[Any], tuple[Any, ...]] | None


class RowMaker:
    """Makes rows for one model, from features of any type that has the model's names.

    >>> maker = RowMaker("demo@1", [Input("amount"), Input("age")], packed=False)
    >>> maker.row_for(dict)({"age": 3, "amount": 2.5})
    (2.5, 3.0)
    >>> maker.row_for(list)([2.5, "x"])
    Traceback (most recent call last):
    penstock.errors.BadEvent: demo@1: feature 'age' is 'x' (str), and has to be a number
    """

    def __init__(self, model: str, inputs: Sequence[Input], *, packed: bool) -> None:
        self.model = model
        self.inputs = tuple(inputs)
        self.names = tuple(entry.name for entry in inputs)
        self._expected = tuple(_PYTHON[entry.type] for entry in inputs)
        self._struct = struct.Struct(f"{len(inputs)}{_CODES[inputs[0].type]}") if packed else None
        self._known: dict[type, Callable[[Any], Row]] = {}

    def row_for(self, features_type: Any) -> Callable[[Any], Row]:
        """The function from features of this type to a row.

        Raises `DeclarationError` where names are missing or left over, or the length differs, with both lists. Of a
        dict or a sequence only the type is known beforehand: the function itself then raises `BadEvent`, as it does
        for a value that is not what the model takes.
        """
        origin = get_origin(features_type) or features_type
        shape = _shape(origin, features_type, self.names)
        if shape.fields is not None:
            self._check_names(shape.fields, features_type)
        if shape.values is not None:
            return self._maker(shape.values)
        if not isinstance(origin, type) or origin in (Any, object):
            return self._by_type
        if issubclass(origin, Mapping):
            return self._maker(self._mapping)
        if issubclass(origin, Sequence | Iterable) and not issubclass(origin, str | bytes):
            self._check_length(features_type)
            return self._maker(self._sequence)
        raise DeclarationError(
            f"{self.model} cannot take features of type {_label(features_type)}: give a Struct, a dataclass or a dict "
            f"with the names {', '.join(self.names)}, or a plain row of {len(self.names)} numbers"
        )

    def explain(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """The values as the model takes them, or `BadEvent` that names the first feature that cannot be."""
        return tuple(self._convert(entry, value) for entry, value in zip(self.inputs, values, strict=True))

    def unpack(self, row: Row) -> tuple[Any, ...]:
        """The values a row was made of."""
        return self._struct.unpack(row) if self._struct and isinstance(row, bytes) else tuple(row)

    def _maker(self, values_of: Callable[[Any], tuple[Any, ...]]) -> Callable[[Any], Row]:
        if self._struct is None:
            expected = self._expected

            def row(features: Any) -> Row:
                values = values_of(features)
                return values if tuple(map(type, values)) == expected else self.explain(values)

            return row
        pack = self._struct.pack

        def packed_row(features: Any) -> Row:
            try:
                return pack(*values_of(features))
            except _WRONG:
                return pack(*self.explain(values_of(features)))

        return packed_row

    def _by_type(self, features: Any) -> Row:
        """Rows where the type of features is not declared: looked at once for every type that comes."""
        kind = type(features)
        maker = self._known.get(kind)
        if maker is None:
            try:
                maker = self._known[kind] = self.row_for(kind)
            except DeclarationError as error:
                raise BadEvent(error.message, status=422) from error
        return maker(features)

    def _mapping(self, features: Mapping[str, Any]) -> tuple[Any, ...]:
        if len(features) != len(self.names) or any(name not in features for name in self.names):
            raise BadEvent(self._difference(features), status=422)
        return tuple([features[name] for name in self.names])

    def _sequence(self, features: Iterable[Any]) -> tuple[Any, ...]:
        values = tuple(features)
        if len(values) != len(self.names):
            raise BadEvent(
                f"{self.model} takes {len(self.names)} values ({', '.join(self.names)}), and the row has {len(values)}",
                status=422,
            )
        return values

    def _check_names(self, fields: Mapping[str, Any], features_type: Any) -> None:
        if set(fields) != set(self.names):
            raise DeclarationError(f"{_label(features_type)} does not fit: {self._difference(fields)}")
        for entry in self.inputs:
            wanted = _PYTHON[entry.type]
            kind = fields[entry.name]
            if isinstance(kind, type) and (kind is str) != (wanted is str) and kind in (str, bytes, int, float, bool):
                raise DeclarationError(
                    f"{_label(features_type)}.{entry.name} is {kind.__name__}, and {self.model} takes "
                    f"{_words(entry)} there"
                )

    def _check_length(self, features_type: Any) -> None:
        parts = get_args(features_type)
        if get_origin(features_type) is tuple and Ellipsis not in parts and len(parts) != len(self.names):
            raise DeclarationError(
                f"{_label(features_type)} has {len(parts)} values, and {self.model} takes {len(self.names)}: "
                f"{', '.join(self.names)}"
            )

    def _difference(self, given: Iterable[str]) -> str:
        given = list(given)
        parts = [f"{self.model} takes {', '.join(self.names)}; the features are {', '.join(map(str, given)) or 'none'}"]
        missing = [name for name in self.names if name not in given]
        extra = [str(name) for name in given if name not in self.names]
        if missing:
            parts.append(f"missing: {', '.join(missing)}")
        if extra:
            parts.append(f"left over: {', '.join(extra)}")
        return "; ".join(parts)

    def _convert(self, entry: Input, value: Any) -> Any:
        wanted = _words(entry)
        if entry.type == "string":
            if not isinstance(value, str):
                raise self._bad(entry, value, wanted)
            return value
        if value is None:
            if not entry.missing:
                raise self._bad(entry, value, wanted)
            return math.nan
        if isinstance(value, str | bytes):
            raise self._bad(entry, value, wanted)
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise self._bad(entry, value, wanted) from None
        if math.isnan(number) and not entry.missing:
            raise self._bad(entry, value, wanted)
        if math.isinf(number) or (entry.type == "float32" and abs(number) >= _LARGEST):
            raise self._bad(entry, value, "a number below 3.4e38 in size")
        return number

    def _bad(self, entry: Input, value: Any, wanted: str) -> BadEvent:
        shown = repr(value)[:80]
        kind = "" if value is None else f" ({type(value).__name__})"
        return BadEvent(f"{self.model}: feature {entry.name!r} is {shown}{kind}, and has to be {wanted}", status=422)


def _shape(origin: Any, features_type: Any, names: Sequence[str]) -> Shape:
    """The names a type of features declares, and a function that reads them in the order of `names`."""
    if not isinstance(origin, type):
        return Shape(None, None)
    if issubclass(origin, msgspec.Struct):
        fields = {field.name: field.type for field in msgspec.structs.fields(origin)}
        in_order = tuple(fields) == tuple(names)
        return Shape(fields, msgspec.structs.astuple if in_order else _attributes(names))
    if is_typeddict(origin):
        fields = _hints(origin)
        # Of one name alone itemgetter gives the value, not a tuple.
        return Shape(fields, itemgetter(*names) if len(names) > 1 else lambda features: (features[names[0]],))
    if dataclasses.is_dataclass(origin):
        hints = _hints(origin)
        fields = {field.name: hints.get(field.name) for field in dataclasses.fields(origin)}
        return Shape(fields, _attributes(names))
    declared = getattr(origin, "_fields", None) if issubclass(origin, tuple) else getattr(origin, "model_fields", None)
    if isinstance(declared, tuple | dict):
        hints = _hints(origin)
        return Shape({name: hints.get(name) for name in declared}, _attributes(names))
    return Shape(None, None)


def _attributes(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """A function that reads attributes into a tuple; written out it takes half the time of `attrgetter`."""
    if not all(name.isidentifier() and not iskeyword(name) for name in names):
        return lambda features: tuple([getattr(features, name) for name in names])
    reader: Callable[[Any], tuple[Any, ...]] = eval(
        f"lambda features: ({' '.join(f'features.{name},' for name in names)})", {}
    )
    return reader


def _hints(kind: type) -> dict[str, Any]:
    try:
        return get_type_hints(kind)
    except (NameError, TypeError, AttributeError):
        return dict(getattr(kind, "__annotations__", {}))


def _words(entry: Input) -> str:
    if entry.type == "string":
        return "a text"
    return "a number or None" if entry.missing else "a number"


def _label(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind).replace("typing.", "")
