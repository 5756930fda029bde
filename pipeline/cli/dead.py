"""`penstock dead`: the events that could not be processed, and why."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.pipeline.cli import columns

if TYPE_CHECKING:
    from penstock.pipeline.letters import Letter

commands = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

Of = Annotated[str, typer.Option("--pipeline", "-p", help="One pipeline; all that ever ran on this store by default.")]


@commands.command("list", epilog="Example: penstock dead list --stage decide --group")
def list_(
    pipeline: Of = "",
    stage: Annotated[str, typer.Option(help="Only what failed in this stage.")] = "",
    error: Annotated[str, typer.Option(help="Only this kind of error, for example BadEvent.")] = "",
    key: Annotated[str, typer.Option(help="Only events of this key.")] = "",
    group: Annotated[bool, typer.Option(help="Group by cause with counts, or list each letter.")] = True,
    limit: Annotated[int, typer.Option(help="Letters to list one by one at most, the newest ones.", min=1)] = 50,
) -> None:
    """Dead letters, grouped by cause: stage, error and the user's line that raised."""
    from penstock.pipeline.post import Filter, read
    from penstock.pipeline.run import on_loop

    letters = on_loop(read(pipeline, Filter(stage=stage, error=error, key=key)))
    if not letters:
        print("there is no dead letter" + (" like that" if stage or error or key else ""), file=sys.stderr)
        return
    (_grouped if group else _each)(letters, limit)


@commands.command("show", epilog="Example: penstock dead show p-17/decide")
def show(
    letter: Annotated[str, typer.Argument(metavar="ID", help="The letter's id, as `penstock dead list` shows it.")],
    pipeline: Of = "",
    payload: Annotated[bool, typer.Option(help="The original bytes alone, as they came.")] = False,
) -> None:
    """One dead letter, whole: the original bytes and headers, the stage, the error, what was already done."""
    from penstock.errors import PenstockError
    from penstock.pipeline.post import Filter, read
    from penstock.pipeline.run import on_loop

    found = [one for _, one in on_loop(read(pipeline, Filter(id=letter)))]
    if not found:
        raise PenstockError(f"there is no dead letter {letter!r}; `penstock dead list --no-group` shows their ids")
    exact = [one for one in found if one.id == letter]
    if len(found) > 1 and not exact:
        raise PenstockError(f"{letter!r} may be {' or '.join(one.id for one in found)}: name one of them")
    found = exact or found
    if payload:
        sys.stdout.buffer.write(found[0].payload)
    else:
        _whole(found[0])


def _grouped(letters: list[tuple[str, Letter]], limit: int) -> None:
    causes: dict[tuple[str, ...], list[Letter]] = {}
    for pipeline, letter in letters:
        causes.setdefault((pipeline, letter.stage, letter.error, letter.where), []).append(letter)
    rows = []
    for (pipeline, stage, error, where), some in sorted(causes.items(), key=lambda cause: -len(cause[1]))[:limit]:
        last = max(some, key=lambda letter: letter.at)
        rows.append([f"{len(some):,}", pipeline, stage, error, _when(last.at), where, _short(last.reason)])
    columns.show(["count", "pipeline", "stage", "error", "last", "where", "reason of the last"], rows)


def _each(letters: list[tuple[str, Letter]], limit: int) -> None:
    rows = [
        [letter.id, pipeline, letter.stage, letter.key, str(letter.attempts), _when(letter.at), _short(letter.reason)]
        for pipeline, letter in letters[-limit:]
    ]
    columns.show(["id", "pipeline", "stage", "key", "tries", "at", "reason"], rows)
    if len(letters) > limit:
        print(f"{len(letters) - limit:,} older ones are not shown: --limit shows more", file=sys.stderr)


def _short(text: str, most: int = 120) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _whole(letter: Letter) -> None:
    import msgspec

    facts = msgspec.to_builtins(letter)
    data = facts.pop("data")
    for name, value in facts.items():
        if value:
            shown = _when(value) if name in ("at", "time") and value else value
            typer.echo(f"{name:<10}{shown}")
    typer.echo(f"\n{data}")


def _when(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
