"""`penstock dead`: the events that could not be processed, and why; what can be done about them."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.pipeline.cli import columns

if TYPE_CHECKING:
    from penstock.pipeline.dead.post import Filter
    from penstock.pipeline.letters.letters import Letter

commands = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

Of = Annotated[str, typer.Option("--pipeline", "-p", help="One pipeline; all that ever ran on this store by default.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="Letters, by the ids that `list` shows.")]
Stage = Annotated[str, typer.Option(help="Only what failed in this stage.")]
Error = Annotated[str, typer.Option(help="Only this kind of error, for example BadEvent.")]
Key = Annotated[str, typer.Option(help="Only events of this key.")]
Since = Annotated[str, typer.Option(help="Only what failed since then: 10m, 2d, or a time in UTC.")]
Until = Annotated[str, typer.Option(help="Only what failed before then: 10m, 2d, or a time in UTC.")]


def wanted(ids: list[str] | None, stage: str, error: str, key: str, since: str, until: str) -> Filter:
    """The letters that these options ask for."""
    from penstock.pipeline.dead.post import Filter, moment

    now = time.time()
    first, last = (moment(text, now) if text else 0.0 for text in (since, until))
    return Filter(tuple(ids or ()), stage, error, key, first, last)


def found(pipeline: str, wanted: Filter) -> list[tuple[str, Letter]]:
    """Those letters, from the store of the settings."""
    from penstock.pipeline.dead.post import select, the_store
    from penstock.pipeline.serving.run import on_loop

    async def read() -> list[tuple[str, Letter]]:
        async with the_store() as store:
            return await select(store, pipeline, wanted)

    return on_loop(read())


@commands.command("list", epilog="Example: penstock dead list --stage decide --since 2h")
def list_(
    pipeline: Of = "",
    stage: Stage = "",
    error: Error = "",
    key: Key = "",
    since: Since = "",
    until: Until = "",
    group: Annotated[bool, typer.Option(help="Group by cause with counts, or list each letter.")] = True,
    limit: Annotated[int, typer.Option(help="Letters to list one by one at most, the newest ones.", min=1)] = 50,
) -> None:
    """Dead letters, grouped by cause: stage, error and the user's line that raised."""
    which = wanted(None, stage, error, key, since, until)
    letters = found(pipeline, which)
    if not letters:
        print("there is no dead letter" + (" like that" if which else ""), file=sys.stderr)
        return
    (grouped if group else _each)(letters, limit)


@commands.command("show", epilog="Example: penstock dead show p-17/decide")
def show(
    letter: Annotated[str, typer.Argument(metavar="ID", help="The letter's id, as `penstock dead list` shows it.")],
    pipeline: Of = "",
    payload: Annotated[bool, typer.Option(help="The payload alone: as it came, or as it was edited.")] = False,
) -> None:
    """One dead letter, whole: the original bytes and headers, the stage, the error, what was already done."""
    from penstock.pipeline.dead.post import Filter

    [(_, one)] = found(pipeline, Filter((letter,)))
    if payload:
        sys.stdout.buffer.write(one.payload)
    else:
        _whole(one)


@commands.command("drop", epilog="Example: penstock dead drop --stage decide --until 30d")
def drop(
    ids: Ids = None,
    pipeline: Of = "",
    stage: Stage = "",
    error: Error = "",
    key: Key = "",
    since: Since = "",
    until: Until = "",
    every: Annotated[bool, typer.Option("--all", help="Every letter.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Give letters up: they are gone for good. `penstock dead export` keeps what may still be wanted."""
    from penstock.pipeline.dead import post
    from penstock.pipeline.serving.run import on_loop

    which = wanted(ids, stage, error, key, since, until)
    if bool(which) == every:
        raise typer.BadParameter("name letters by id or by an option, or say --all" if not every else "all, or some?")
    letters = found(pipeline, which)
    if letters and not yes:
        grouped(letters, 50)
        if not sys.stdin.isatty():
            raise typer.BadParameter("nobody can be asked here: --yes says that it is meant")
        typer.confirm(f"drop {letters_of(len(letters))} for good?", abort=True)

    async def main() -> int:
        async with post.the_store() as store:
            return await post.drop(store, letters)

    print(f"{letters_of(on_loop(main()))} dropped", file=sys.stderr)


@commands.command("export", epilog="Example: penstock dead export letters.ndjson --since 1d")
def export(
    file: Annotated[str, typer.Argument(metavar="[FILE|-]", help="Where to write them.")] = "-",
    pipeline: Of = "",
    stage: Stage = "",
    error: Error = "",
    key: Key = "",
    since: Since = "",
    until: Until = "",
) -> None:
    """Write letters out with everything in them, one JSON object a line. They stay where they are."""
    from penstock.pipeline.files import whole
    from penstock.pipeline.letters.letters import line

    letters = found(pipeline, wanted(None, stage, error, key, since, until))
    lines = (line(name, letter) for name, letter in letters)
    if file == "-":
        sys.stdout.buffer.writelines(lines)
    else:
        whole(Path(file), lines)
    print(f"{letters_of(len(letters))} written", file=sys.stderr)


@commands.command("import", epilog="Example: penstock dead import letters.ndjson")
def import_(file: Annotated[str, typer.Argument(metavar="FILE|-", help="What `penstock dead export` wrote.")]) -> None:
    """Put exported letters back. One that is there already is left as it is."""
    from penstock.pipeline.dead import post
    from penstock.pipeline.serving.run import on_loop

    if file != "-" and not Path(file).is_file():
        raise typer.BadParameter(f"there is no file {file}", param_hint="FILE")

    async def main() -> tuple[int, int]:
        async with post.the_store() as store:
            if file == "-":
                return await post.put(store, sys.stdin.buffer)
            with Path(file).open("rb") as lines:  # noqa: ASYNC230 - nothing else runs meanwhile
                return await post.put(store, lines)

    written, known = on_loop(main())
    print(f"{letters_of(written)} written, {known:,} there already", file=sys.stderr)


def grouped(letters: list[tuple[str, Letter]], limit: int) -> None:
    """Print letters by their cause, the most frequent first."""
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
    data, edited, history = facts.pop("data"), facts.pop("edited"), facts.pop("history")
    for name, value in facts.items():
        if value and name != "edited_encoding":
            shown = _when(value) if name in ("at", "time") and value else value
            typer.echo(f"{name:<10}{shown}")
    for failure in history:
        typer.echo(f"before    {_when(failure['at'])} in {failure['stage']}: {_short(failure['reason'])}")
    typer.echo(f"\n{data}")
    if edited is not None:
        typer.echo(f"\nedited to\n{edited}")


def letters_of(count: int) -> str:
    """So many letters, in words."""
    return f"{count:,} letter" if count == 1 else f"{count:,} letters"


def _when(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
