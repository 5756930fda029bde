"""`penstock dead edit`: the payload of a dead letter in the user's editor."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from penstock.pipeline.cli.dead_options import Id
from penstock.pipeline.cli.graph import App

if TYPE_CHECKING:
    from penstock.pipeline.letters.letters import Letter

EXAMPLE = "Example: penstock dead edit app.py p-17/decide"


def edit(app: App, letter: Id) -> None:
    """Change the payload of a dead letter in $EDITOR. It is taken if it fits the pipeline's schema.

    The original is kept beside it. `penstock dead replay` then starts from what it was changed to.
    """
    from penstock.connectors import Site
    from penstock.errors import PenstockError
    from penstock.pipeline.dead import editing, post
    from penstock.pipeline.letters.letters import Letters
    from penstock.pipeline.serving.app import load
    from penstock.pipeline.serving.local import settings
    from penstock.pipeline.serving.run import on_loop

    graph = load(app).build()
    group = Site(settings(), pipeline=graph.name).group

    def again(reason: str) -> bool:
        print(f"refused: {reason}", file=sys.stderr)
        return sys.stdin.isatty() and typer.confirm("edit it again?", default=True)

    async def read() -> Letter:
        async with post.the_store() as store:
            return await post.one(store, group, letter)

    before = on_loop(read())
    after = editing.edit(before, again, editing.entry_of(graph, before))
    if after is None:
        print("nothing was changed", file=sys.stderr)
        return

    async def keep() -> bool:
        async with post.the_store() as store:
            return await Letters(store, group).amend(after)

    if not on_loop(keep()):
        raise PenstockError(f"{before.id} is gone: somebody replayed or dropped it meanwhile")
    print(f"{before.id} is edited; now: penstock dead replay {app} {letter}", file=sys.stderr)
