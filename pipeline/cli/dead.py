"""`penstock dead`: the events that could not be processed, and why; what can be done about them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.pipeline.cli import dead_edit, dead_list, dead_replay
from penstock.pipeline.cli.dead_list import Causes
from penstock.pipeline.cli.dead_options import Chosen, Ids, Of, choosing, letters_of

if TYPE_CHECKING:
    from typing import BinaryIO

    from penstock.pipeline.dead.post import Filter

commands = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
commands.command("list", epilog=dead_list.LIST_EXAMPLE)(dead_list.list_)
commands.command("show", epilog=dead_list.SHOW_EXAMPLE)(dead_list.show)
commands.command("edit", epilog=dead_edit.EXAMPLE)(dead_edit.edit)
commands.command("replay", epilog=dead_replay.EXAMPLE)(dead_replay.replay)


@commands.command("drop", epilog="Example: penstock dead drop --stage decide --until 30d")
@choosing
def drop(
    chosen: Chosen,
    ids: Ids = None,
    pipeline: Of = "",
    every: Annotated[bool, typer.Option("--all", help="Every letter.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Give letters up: they are gone for good. `penstock dead export` keeps what may still be wanted."""
    from penstock.pipeline.dead import post
    from penstock.pipeline.serving.run import on_loop

    wanted = chosen.wanted(ids)
    if bool(wanted) == every:
        raise typer.BadParameter("name letters by id or by an option, or say --all" if not every else "all, or some?")
    upto = None if yes else _asked(pipeline, wanted)

    async def main() -> int:
        async with post.the_store() as store:
            return await post.drop(store, pipeline, wanted, upto)

    print(f"{letters_of(on_loop(main()))} dropped", file=sys.stderr)


def _asked(pipeline: str, wanted: Filter) -> dict[str, str]:
    """Ask whether these are meant: by pipeline, the last letter that was there then."""
    from penstock.pipeline.dead import post
    from penstock.pipeline.serving.run import on_loop

    causes = Causes()
    upto: dict[str, str] = {}

    async def read() -> None:
        async with post.the_store() as store:
            async for page in await post.pages(store, pipeline, wanted):
                upto[page.pipeline] = page.place
                for letter in page.letters:
                    causes.add(page.pipeline, letter)

    on_loop(read())
    if causes.total:
        causes.show(50)
        if not sys.stdin.isatty():
            raise typer.BadParameter("nobody can be asked here: --yes says that it is meant")
        typer.confirm(f"drop {letters_of(causes.total)} for good?", abort=True)
    return upto


@commands.command("export", epilog="Example: penstock dead export letters.ndjson --since 1d")
@choosing
def export(
    chosen: Chosen,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="Where to write them.")] = "-",
    pipeline: Of = "",
) -> None:
    """Write letters out with everything in them, one JSON object a line. They stay where they are."""
    from penstock.pipeline.dead import post
    from penstock.pipeline.files import whole
    from penstock.pipeline.letters.letters import line
    from penstock.pipeline.serving.run import on_loop

    wanted = chosen.wanted()

    async def to(out: BinaryIO) -> int:
        count = 0
        async with post.the_store() as store:
            async for page in await post.pages(store, pipeline, wanted):
                out.writelines([line(page.pipeline, letter) for letter in page.letters])
                count += len(page.letters)
        return count

    if file == "-":
        count = on_loop(to(sys.stdout.buffer))
        sys.stdout.flush()
    else:
        with whole(Path(file)) as out:
            count = on_loop(to(out))
    print(f"{letters_of(count)} written", file=sys.stderr)


@commands.command("import", epilog="Example: penstock dead import letters.ndjson")
def import_(file: Annotated[str, typer.Argument(metavar="FILE|-", help="What `penstock dead export` wrote.")]) -> None:
    """Put exported letters back. One that is there already is left as it is."""
    from penstock.pipeline.dead import post
    from penstock.pipeline.serving.run import on_loop

    if file != "-" and not Path(file).is_file():
        raise typer.BadParameter(f"there is no file {file}", param_hint="FILE")

    async def main(lines: BinaryIO, size: int) -> tuple[int, int]:
        async with post.the_store() as store:
            return await post.put(store, lines, size)

    if file == "-":
        written, known = on_loop(main(sys.stdin.buffer, 0))
    else:
        with Path(file).open("rb") as lines:
            post.checked(lines)
            lines.seek(0)
            written, known = on_loop(main(lines, Path(file).stat().st_size))
    print(f"{letters_of(written)} written, {known:,} there already", file=sys.stderr)
