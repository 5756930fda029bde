"""`penstock send` and `penstock tail`: events in by hand, events out before one's eyes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

SEND_EXAMPLE = """Example: echo '{"id": "p1", "card": "c7", "amount": 12.5}' | penstock send kafka:payments"""
TAIL_EXAMPLE = "Example: penstock tail kafka:decisions -n 10"

Where = Annotated[str, typer.Argument(metavar="ADDRESS", help="kafka:TOPIC, mqtt:TOPIC, redis:STREAM or http:/PATH.")]
Topic = Annotated[str, typer.Argument(metavar="ADDRESS", help="kafka:TOPIC, mqtt:TOPIC or redis:STREAM.")]


def send(
    to: Where,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="JSON lines, or one JSON document.")] = "-",
    key: Annotated[str, typer.Option(help="The field whose value is the key (the partition, and so the order).")] = "",
    raw: Annotated[bool, typer.Option("--raw", help="Send every line as it is, JSON or not.")] = False,
    create: Annotated[
        bool, typer.Option("--create", help="Send to a Kafka topic that is not there: most brokers make it.")
    ] = False,
) -> None:
    """Send events to a topic, stream or path: one for each JSON line, or each element of a JSON array.

    Waits until all of them are confirmed. Exit code 1 where one was refused, 2 where Kafka has no such topic.
    """
    from penstock.pipeline.serving.run import on_loop
    from penstock.pipeline.serving.sending import Sender, documents

    if file == "-":
        if sys.stdin.isatty():
            print("one JSON event a line, Ctrl-D ends:", file=sys.stderr)
        stream = sys.stdin.buffer
    elif not Path(file).exists() or Path(file).is_dir():  # a pipe is as good: <(...)
        raise typer.BadParameter(f"there is no file {file}", param_hint="FILE")
    else:
        stream = Path(file).open("rb")  # noqa: SIM115 (it is read until the process ends)
    sender = Sender(to, key=key, size=0 if file == "-" else Path(file).stat().st_size, create=create)
    refused = on_loop(sender.run(documents(stream, raw=raw)))
    if refused:
        raise typer.Exit(1)


def tail(
    at: Topic,
    number: Annotated[int, typer.Option("-n", "--number", help="Leave after so many events; 0 for never.", min=0)] = 0,
    earliest: Annotated[
        bool, typer.Option("--earliest", help="Begin with the oldest event there is, not with the next.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="With id, key, time, type and headers, as one JSON object a line.")
    ] = False,
) -> None:
    """Show events as they arrive in a topic or stream, one a line, until Ctrl-C. Nothing is taken from anybody."""
    from penstock.pipeline.serving.following import follow
    from penstock.pipeline.serving.run import on_loop

    on_loop(follow(at, number=number, earliest=earliest, full=full, write=_line))


def _line(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()
