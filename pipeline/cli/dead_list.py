"""`penstock dead list` and `show`: which letters there are, and one of them whole."""

from __future__ import annotations

import heapq
import sys
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.pipeline.cli import columns
from penstock.pipeline.cli.dead_options import Chosen, Id, Of, choosing

if TYPE_CHECKING:
    from penstock.pipeline.letters.letters import Letter

LIST_EXAMPLE = "Example: penstock dead list --stage decide --since 2h"
SHOW_EXAMPLE = "Example: penstock dead show p-17/decide"


@dataclass
class Causes:
    """Letters by their cause, of which no more is kept than is shown: how many, and the last one's time and reason."""

    total: int = 0
    _rows: dict[tuple[str, str, str, str], tuple[int, float, str]] = field(default_factory=dict)

    def add(self, pipeline: str, letter: Letter) -> None:
        self.total += 1
        cause = (pipeline, letter.stage, letter.error, letter.where)
        count, at, reason = self._rows.get(cause, (0, 0.0, ""))
        if letter.at >= at:
            at, reason = letter.at, short(letter.reason)
        self._rows[cause] = count + 1, at, reason

    def show(self, limit: int) -> None:
        """Print the causes, the most frequent first."""
        most = heapq.nlargest(limit, self._rows.items(), key=lambda row: row[1][0])
        rows = [
            [f"{count:,}", pipeline, stage, error, when(at), where, reason]
            for (pipeline, stage, error, where), (count, at, reason) in most
        ]
        columns.show(["count", "pipeline", "stage", "error", "last", "where", "reason of the last"], rows)
        if len(self._rows) > limit:
            print(f"{len(self._rows) - limit:,} rarer causes are not shown: --limit shows more", file=sys.stderr)


@choosing
def list_(
    chosen: Chosen,
    pipeline: Of = "",
    group: Annotated[bool, typer.Option(help="Group by cause with counts, or list each letter.")] = True,
    limit: Annotated[int, typer.Option(help="Rows at most: the commonest causes, or the newest letters.", min=1)] = 50,
) -> None:
    """Dead letters, grouped by cause: stage, error and the user's line that raised."""
    from penstock.pipeline.dead.post import pages, the_store
    from penstock.pipeline.serving.run import on_loop

    wanted = chosen.wanted()
    causes, newest = Causes(), deque[list[str]](maxlen=limit)

    async def read() -> int:
        count = 0
        async with the_store() as store:
            async for page in await pages(store, pipeline, wanted):
                count += len(page.letters)
                if group:
                    for letter in page.letters:
                        causes.add(page.pipeline, letter)
                else:
                    newest.extend(_row(page.pipeline, letter) for letter in page.letters[-limit:])
        return count

    count = on_loop(read())
    if not count:
        print("there is no dead letter" + (" like that" if wanted else ""), file=sys.stderr)
    elif group:
        causes.show(limit)
    else:
        columns.show(["id", "pipeline", "stage", "key", "tries", "at", "reason"], list(newest))
        if count > limit:
            print(f"{count - limit:,} older ones are not shown: --limit shows more", file=sys.stderr)


def show(
    letter: Id,
    pipeline: Of = "",
    payload: Annotated[
        bool, typer.Option("--payload", help="The payload alone: as it came, or as it was edited.")
    ] = False,
) -> None:
    """One dead letter, whole: the original bytes and headers, the stage, the error, what was already done."""
    from penstock.pipeline.dead import post
    from penstock.pipeline.serving.run import on_loop

    async def read() -> Letter:
        async with post.the_store() as store:
            return await post.one(store, pipeline, letter)

    found = on_loop(read())
    if payload:
        sys.stdout.buffer.write(found.payload)
    else:
        _whole(found)


def _row(pipeline: str, letter: Letter) -> list[str]:
    tries = str(letter.attempts)
    return [letter.id, pipeline, letter.stage, letter.key, tries, when(letter.at), short(letter.reason)]


def _whole(letter: Letter) -> None:
    import msgspec

    facts = msgspec.to_builtins(letter)
    data, edited, history = facts.pop("data"), facts.pop("edited"), facts.pop("history")
    for name, value in facts.items():
        if value and name != "edited_encoding":
            shown = when(value) if name in ("at", "time") and value else value
            typer.echo(f"{name:<10}{shown}")
    for failure in history:
        typer.echo(f"before    {when(failure['at'])} in {failure['stage']}: {short(failure['reason'])}")
    typer.echo(f"\n{data}")
    if edited is not None:
        typer.echo(f"\nedited to\n{edited}")


def short(text: str, most: int = 120) -> str:
    """A text in one line of at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def when(seconds: float) -> str:
    """A moment in UTC, as people read it."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
