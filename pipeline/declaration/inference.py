"""Checking what an `infer` stage asks for: the model, its features, its fallback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_origin

from penstock.errors import DeclarationError, Where
from penstock.models.prediction import Prediction
from penstock.pipeline.declaration.annotations import admits_none, element, fields, fits, label, without_none
from penstock.pipeline.graph import Function
from penstock.stages.function import Batched, Call, length


def check(given: Mapping[str, Any], where: Where) -> Any:
    """Refuse wrong references and shares; return the type that functions see under the stage's name."""
    for ref in (given["ref"], given["challenger"], given["shadow"]):
        if ref is not None and (not isinstance(ref, str) or ref.count("@") != 1 or not all(ref.split("@"))):
            raise DeclarationError(
                f"{ref!r} names no model: write name@alias, for example 'card-fraud@champion'", where
            )
    share = given["share"]
    if not isinstance(share, int | float) or not 0.0 <= share <= 1.0:
        raise DeclarationError(f"share is {share!r}: it is a share of the keys, from 0 to 1", where)
    if share and given["challenger"] is None:
        raise DeclarationError(
            "share= says how many keys the challenger gets: name it, challenger='card-fraud@challenger'", where
        )
    return list[Prediction] if given["many"] else Prediction


def deadline(given: Mapping[str, Any], where: Where) -> float | None:
    """The stage's deadline in seconds."""
    try:
        return length("deadline", given["deadline"])
    except DeclarationError as error:
        raise DeclarationError(error.message, where) from None


def check_features(features: Function | None, kind: Any, stage: str, where: Where, *, many: bool) -> None:
    """Refuse what no model's row can be made of."""
    what = f"the payload of {stage!r}" if features is None else f"the features of {stage!r}"
    if features is not None and "generator" in features.kind:
        raise DeclarationError(
            f"{what} are a generator function: return one row, or a list of rows with many=True", where
        )
    if admits_none(kind):
        raise DeclarationError(f"{what} may be None ({label(kind)}): a model is asked about every event", where)
    inside = element(kind)
    if many and inside is None:
        raise DeclarationError(f"{what} are {label(kind)}: many=True asks about a list of them", where)
    if not many and inside not in (None, Any) and fields(inside) is not None:
        raise DeclarationError(f"{what} are a list of {label(inside)}: say many=True to ask about each", where)
    row = inside if many else kind
    if any(_no_row(member) for member in without_none(row)):
        how = "say how to make features of it" if features is None else "return them by name, or as a list of numbers"
        raise DeclarationError(f"{what} {'is' if features is None else 'are'} {label(row)}: {how}", where)


def _no_row(kind: Any) -> bool:
    plain = get_origin(kind) or kind
    if not isinstance(plain, type) or plain is object or fields(kind) is not None or element(kind) is not None:
        return False
    return not issubclass(plain, Mapping) and plain.__module__ != "numpy"


def check_fallback(f: Any, fallback: Function, result: Any, stage: str, where: Where, *, many: bool) -> None:
    """Refuse a fallback that could be late, or that answers something else than a prediction."""
    if many:
        raise DeclarationError(
            f"{stage!r} has many=True and a fallback, which answers for one prediction: leave one of them out", where
        )
    if fallback.kind != "plain" or isinstance(f, Call | Batched):
        raise DeclarationError(
            f"the fallback of {stage!r} is not a plain function: it answers when there is no time to wait", where
        )
    if not all(any(fits(member, kind) for kind in (Prediction, float, str)) for member in _results(result)):
        raise DeclarationError(
            f"the fallback of {stage!r} returns {label(result)}: return a Prediction, a number or a label", where
        )


def _results(result: Any) -> tuple[Any, ...]:
    return (*without_none(result), type(None)) if admits_none(result) else without_none(result)
