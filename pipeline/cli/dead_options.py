"""What the commands of `penstock dead` have in common: which letters are meant."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from typing import TYPE_CHECKING, Annotated, get_type_hints

import typer

if TYPE_CHECKING:
    from penstock.pipeline.dead.post import Filter

Of = Annotated[str, typer.Option("--pipeline", "-p", help="One pipeline; all that ever ran on this store by default.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The letter's id, as `penstock dead list --no-group` shows it.")]
Ids = Annotated[
    list[str] | None, typer.Argument(metavar="ID", help="Letters, by the ids that `list --no-group` shows.")
]


@dataclass(frozen=True)
class Chosen:
    """The options that choose letters."""

    stage: Annotated[str, typer.Option(help="Only what failed in this stage.")] = ""
    error: Annotated[str, typer.Option(help="Only this kind of error, for example BadEvent.")] = ""
    key: Annotated[str, typer.Option(help="Only events of this key.")] = ""
    since: Annotated[str, typer.Option(help="Only what failed since then: 10m, 2d, or a time in UTC.")] = ""
    until: Annotated[str, typer.Option(help="Only what failed before then: 10m, 2d, or a time in UTC.")] = ""

    def wanted(self, ids: Sequence[str] | None = None) -> Filter:
        """The letters they mean. Raises `ConfigError` for a time that is none."""
        from penstock.pipeline.dead.post import Filter, moment

        now = time.time()
        first, last = (moment(text, now) if text else 0.0 for text in (self.since, self.until))
        return Filter(tuple(ids or ()), self.stage, self.error, self.key, first, last)


def choosing(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options in the place of its parameter `chosen`."""
    hints = get_type_hints(Chosen, include_extras=True)
    names = [field.name for field in fields(Chosen)]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default="", annotation=hints[name]) for name in names
    ]
    own = inspect.signature(command, eval_str=True)

    @wraps(command)
    def run(**given: object) -> None:
        command(chosen=Chosen(**{name: str(given.pop(name)) for name in names}), **given)

    parameters: list[inspect.Parameter] = []
    for one in own.parameters.values():
        parameters += options if one.name == "chosen" else [one.replace(kind=inspect.Parameter.KEYWORD_ONLY)]
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def letters_of(count: int) -> str:
    """So many letters, in words."""
    return f"{count:,} letter" if count == 1 else f"{count:,} letters"
