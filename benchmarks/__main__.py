"""`python -m benchmarks NAME [--json]`: run one benchmark and show, or print as JSON, what it found."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.options import Client, Options
from benchmarks.registry import NAMES, describe, run
from benchmarks.show import show

app = typer.Typer(add_completion=False, rich_markup_mode="rich")
errors = Console(stderr=True)


@app.command()
def main(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(NAMES)}. Without it, the list is shown.")] = "",
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON on standard output.")] = False,
    suspend: Annotated[bool, typer.Option("--async", help="engine: one suspension per event.")] = False,
    rounds: Annotated[int, typer.Option(min=1, help="How often each contestant runs.")] = 5,
    seconds: Annotated[float, typer.Option(min=0, help="Length of one turn; 0 is the benchmark's own.")] = 0.0,
    client: Annotated[str, typer.Option(help="kafka: confluent, kafka-python, or both.")] = "both",
    only: Annotated[list[str] | None, typer.Option(help="Contestants whose names begin so; may be repeated.")] = None,
) -> None:
    """Measure penstock against what would be written by hand, and against its peers.

    Example: python -m benchmarks decide --rounds 5 --json
    """
    if not name:
        for each in NAMES:
            print(f"{each:15} {describe(each)}")
        return
    if name not in NAMES:
        errors.print(f"there is no benchmark {name!r}: write one of {', '.join(NAMES)}")
        raise typer.Exit(2)
    options = Options(
        rounds=rounds,
        seconds=seconds,
        suspend=suspend,
        clients=_clients(client),
        only=tuple(only or ()),
        say=lambda line: errors.print(f"[dim]{line}[/]", highlight=False),
    )
    # So that children and servers end with it, however it is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = run(name, options)
    report.command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
    if as_json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        show(report)


def _clients(name: str) -> tuple[Client, ...]:
    match name:
        case "confluent" | "kafka-python":
            return (name,)
        case "both":
            return ("confluent", "kafka-python")
        case _:
            raise typer.BadParameter("write confluent, kafka-python or both", param_hint="--client")


if __name__ == "__main__":
    app()
