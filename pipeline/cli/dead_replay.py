"""`penstock dead replay`: dead letters through their pipeline once more."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from penstock.pipeline.cli.dead import Error, Ids, Key, Since, Stage, Until, found, grouped, letters_of, wanted
from penstock.pipeline.cli.graph import App

EXAMPLE = "Example: penstock dead replay app.py --stage decide --rate 100"


def replay(
    app: App,
    ids: Ids = None,
    stage: Stage = "",
    error: Error = "",
    key: Key = "",
    since: Since = "",
    until: Until = "",
    rate: Annotated[float, typer.Option(help="Letters a second at most; 0 for no limit.", min=0.0)] = 0.0,
    informed: Annotated[bool, typer.Option(help="Also those whose sender was told (HTTP 422).")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be replayed, and leave.")] = False,
) -> None:
    """Run letters through the pipeline in this process, and send its actions to the real sinks.

    Actions have the ids that they would have had; what was sent already is not sent again. A letter goes when its event
    has finished. One that fails again stays, with its history. Exit code 1 where any stays.
    """
    from penstock.connectors import Site
    from penstock.pipeline.dead.replay import Replay, entry
    from penstock.pipeline.serving.app import load
    from penstock.pipeline.serving.local import settings
    from penstock.pipeline.serving.run import on_loop

    graph = load(app).build()
    which = wanted(ids, stage, error, key, since, until)
    everything = [letter for _, letter in found(Site(settings(), pipeline=graph.name).group, which)]
    letters = [letter for letter in everything if informed or not letter.informed or which.names(letter)]
    told = len(everything) - len(letters)
    if told:
        print(f"{letters_of(told)} left out: their senders were informed (--informed, or an id)", file=sys.stderr)
    lost = [letter for letter in letters if not entry(graph, letter)]
    if lost:
        stages = ", ".join(sorted({letter.entry for letter in lost}))
        print(f"{letters_of(len(lost))} left out: {graph.name} has no source {stages}", file=sys.stderr)
    letters = [letter for letter in letters if entry(graph, letter)]
    skipped = told + len(lost)
    if dry_run:
        grouped([(graph.name, letter) for letter in letters], 50)
        print(f"{letters_of(len(letters))} would be replayed, {skipped:,} skipped", file=sys.stderr)
        return

    async def main() -> Replay:
        run = Replay(graph, letters, rate=rate)
        if letters:
            await run.run()
        return run

    run = on_loop(main())
    skipped += run.left
    print(f"{letters_of(run.done)} replayed, {run.again:,} failed again, {skipped:,} skipped", file=sys.stderr)
    if run.again or run.left:
        raise typer.Exit(1)
