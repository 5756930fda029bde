"""The tree of commands. Each one's work is in a module of its own, imported when it runs."""

from __future__ import annotations

from inspect import cleandoc
from typing import Annotated

import typer

from penstock.pipeline.cli import dead, graph, messages, models, new, serve

EPILOG = "Exit codes: 0 it went well, 1 it failed, 2 the declaration, a setting or the command itself is wrong."

commands = typer.Typer(
    name="penstock",
    help="Turn a stream of events into decisions.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"penstock {version('penstock')}")
        raise typer.Exit


@commands.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Turn a stream of events into decisions."""


commands.command("new", epilog=new.EXAMPLE)(new.new)
commands.command("check", epilog=graph.CHECK_EXAMPLE)(graph.check)
commands.command("graph", epilog=graph.GRAPH_EXAMPLE)(graph.graph)
commands.command("dev", epilog=serve.DEV_EXAMPLE)(serve.dev)
commands.command("run", epilog=serve.RUN_EXAMPLE)(serve.run)
commands.command("send", epilog=messages.SEND_EXAMPLE)(messages.send)
commands.command("tail", epilog=messages.TAIL_EXAMPLE)(messages.tail)
commands.add_typer(dead.commands, name="dead", help="Events that could not be processed: why, and what to do about it.")
commands.add_typer(models.commands, name="models", help="Train, list and promote models.")


def _paragraphs(doc: str) -> str:
    """A docstring as help: its lines end where the terminal does, and not where the source's do."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in cleandoc(doc).split("\n\n"))


for tree in (commands, dead.commands, models.commands):
    for one in tree.registered_commands:
        one.help = _paragraphs((one.callback and one.callback.__doc__) or "")
