"""Rows of named features as the arrays that scikit-learn takes, and back again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from penstock.errors import NotPublished
from penstock.models.manifest import Input

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Table(NamedTuple):
    """Examples for training: the features' names, and their values, of shape (rows, names)."""

    names: list[str]
    values: NDArray[Any]


def table(rows: Iterable[Any]) -> Table:
    """Structs, dataclasses, named tuples or dicts as a table; the same features function then trains and serves.

    Numbers become 64-bit floats, None becomes NaN; where any value is a text, the array holds objects.

    >>> table([{"amount": 2.5, "age": 3}, {"amount": 1.0, "age": None}])
    Table(names=['amount', 'age'], values=array([[2.5, 3. ],
           [1. , nan]]))
    """
    import numpy

    records = [_record(row) for row in rows]
    if not records:
        raise NotPublished("there are no examples to make a table of")
    names = list(records[0])
    values = [[record[name] for name in names] for record in records]
    if any(isinstance(value, str) for row in values for value in row):
        return Table(names, numpy.array(values, dtype=object))
    return Table(names, numpy.array(values, dtype=numpy.float64))


def names_of(features: Sequence[str] | type | None, estimator: Any, X: Any) -> list[str]:  # noqa: N803
    """The names of the columns: as given (a list, or a type with fields), or as the estimator or the data know them."""
    if isinstance(features, type):
        found = _fields(features)
    elif features is not None:
        found = list(features)
    else:
        known = getattr(estimator, "feature_names_in_", None)
        known = getattr(X, "columns", None) if known is None else known
        if known is None:
            raise NotPublished(
                "the features have no names: give features=[...] in the order of the columns, or their type"
            )
        found = [str(name) for name in known]
    if len(set(found)) != len(found):
        raise NotPublished(f"the features' names repeat: {', '.join(found)}")
    return found


def held_out(X: Any, names: Sequence[str]) -> NDArray[Any]:  # noqa: N803
    """Held-out examples (an array or a DataFrame) as an array of shape (rows, names), numbers or objects."""
    import numpy

    values: NDArray[Any] = X.to_numpy() if hasattr(X, "to_numpy") else numpy.asarray(X)
    if values.ndim != 2 or not len(values):
        raise NotPublished(f"the held-out rows must have the shape (rows, {len(names)}), and have {values.shape}")
    if values.shape[1] != len(names):
        raise NotPublished(
            f"there are {len(names)} names ({', '.join(names)}), and the rows have {values.shape[1]} columns"
        )
    return values


def inputs_of(values: NDArray[Any], names: Sequence[str], precision: Literal["float32", "float64"]) -> list[Input]:
    """What each column is: text where all its values are, else a number, which may be missing if one of them is."""
    import numpy

    inputs = []
    for name, column in zip(names, values.T, strict=True):
        if values.dtype.kind in "OUS" and all(isinstance(value, str) for value in column):
            inputs.append(Input(name, "string"))
            continue
        try:
            numbers = column.astype(numpy.float64)
        except (TypeError, ValueError) as error:
            raise NotPublished(f"feature {name!r} is neither all text nor all numbers: {error}") from None
        inputs.append(Input(name, precision, bool(numpy.isnan(numbers).any())))
    return inputs


def typical(values: NDArray[Any], inputs: Sequence[Input]) -> list[Any]:
    """A row of each column's median, or commonest text: nobody's own, yet like all of them."""
    import numpy

    row: list[Any] = []
    for entry, column in zip(inputs, values.T, strict=True):
        if entry.type == "string":
            texts, counts = numpy.unique(column.astype(str), return_counts=True)
            row.append(str(texts[counts.argmax()]))
        else:
            numbers = column.astype(numpy.float64)
            known = numbers[~numpy.isnan(numbers)]
            row.append(float(numpy.float32(numpy.median(known))) if len(known) else 0.0)
    return row


def _record(row: Any) -> Mapping[str, Any]:
    if isinstance(row, Mapping):
        return row
    if isinstance(row, msgspec.Struct):
        return msgspec.structs.asdict(row)
    if isinstance(row, tuple) and (names := getattr(row, "_fields", None)):
        return dict(zip(names, row, strict=True))
    if dataclasses.is_dataclass(row) and not isinstance(row, type):
        return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    raise NotPublished(f"{type(row).__name__} has no named features: give Structs, dataclasses, named tuples or dicts")


def _fields(kind: type) -> list[str]:
    if issubclass(kind, msgspec.Struct):
        return [field.name for field in msgspec.structs.fields(kind)]
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    names = getattr(kind, "_fields", None) or list(getattr(kind, "__annotations__", {}))
    if not names:
        raise NotPublished(f"{kind.__name__} declares no fields to name the features by")
    return list(names)
