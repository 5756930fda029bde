"""`penstock dead replay`: dead letters through their pipeline once more."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.pipeline.cli.dead_list import Causes
from penstock.pipeline.cli.dead_options import Chosen, Ids, choosing, letters_of
from penstock.pipeline.cli.graph import App

if TYPE_CHECKING:
    from penstock.pipeline.dead.replay import Replay
    from penstock.pipeline.dead.stock import Choice

EXAMPLE = "Example: penstock dead replay app.py --stage decide --rate 100"


@choosing
def replay(
    app: App,
    chosen: Chosen,
    ids: Ids = None,
    rate: Annotated[float, typer.Option(help="Letters a second at most; 0 for no limit.", min=0.0)] = 0.0,
    informed: Annotated[bool, typer.Option("--informed", help="Also those whose sender was told (HTTP 422).")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be replayed, and leave.")] = False,
) -> None:
    """Run letters through the pipeline in this process, and send its actions to the real sinks.

    Actions have the ids that they would have had; what was sent already is not sent again. A letter goes when its event
    has finished. One that fails again stays, with its history. Exit code 1 where any stays.
    """
    from penstock.connectors import Site
    from penstock.pipeline.dead import post
    from penstock.pipeline.dead.replay import Replay
    from penstock.pipeline.dead.stock import Choice
    from penstock.pipeline.serving.app import load
    from penstock.pipeline.serving.local import settings
    from penstock.pipeline.serving.run import on_loop

    graph = load(app).build()
    group = Site(settings(), pipeline=graph.name).group
    wanted = chosen.wanted(ids)
    choice = Choice(graph, wanted, informed=informed)
    causes = Causes()
    named: list[str] = []

    async def look() -> None:
        """Until there is one to replay; at all of them for a dry run."""
        async with post.the_store() as store:
            async for page in await post.pages(store, group, wanted):
                named.extend(letter.id for letter in page.letters if ids)
                for letter in page.letters:
                    if choice.source(letter):
                        causes.add(graph.name, letter)
                if causes.total and not dry_run:
                    return

    on_loop(look())
    if dry_run or not causes.total:
        _left_out(choice)
        if not dry_run:
            print(f"0 letters replayed, 0 failed again, {choice.told + choice.lost:,} skipped", file=sys.stderr)
            return
        causes.show(50)
        told = f"{letters_of(causes.total)} would be replayed, {choice.told + choice.lost:,} skipped"
        print(told, file=sys.stderr)
        return

    async def main() -> Replay:
        whole = replace(wanted, ids=tuple(named))
        run = Replay(graph, Choice(graph, whole, informed=informed), rate=rate)
        await run.run()
        return run

    run = on_loop(main())
    _left_out(run.choice)
    skipped = run.choice.told + run.choice.lost
    print(f"{letters_of(run.done)} replayed, {run.again:,} failed again, {skipped:,} skipped", file=sys.stderr)
    if not run.finished:
        print("it was stopped before it came to the others, which stay", file=sys.stderr)
    if run.again or not run.finished:
        raise typer.Exit(1)


def _left_out(choice: Choice) -> None:
    if choice.told:
        why = "their senders were informed (--informed, or an id)"
        print(f"{letters_of(choice.told)} left out: {why}", file=sys.stderr)
    if choice.lost:
        why = f"{choice.graph.name} has no source {', '.join(sorted(choice.stages))}"
        print(f"{letters_of(choice.lost)} left out: {why}", file=sys.stderr)
