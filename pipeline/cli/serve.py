"""`penstock run` and `penstock dev`: pipelines at work."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from penstock.pipeline.cli.graph import Apps
from penstock.pipeline.serving.logs import Style

if TYPE_CHECKING:
    from penstock.connectors import Settings
    from penstock.pipeline.graph import Graph

RUN_EXAMPLE = "Example: PENSTOCK_KAFKA=localhost:9092 PENSTOCK_STORE=redis://localhost penstock run app.py"
DEV_EXAMPLE = "Example: penstock dev app.py"

Log = Annotated[Style, typer.Option("--log", metavar="human|json", help="How to write log lines, on standard error.")]


def run(
    apps: Apps,
    log: Log = "human",
    reprocess: Annotated[
        Literal["keep-state", "new-state"] | None,
        typer.Option(
            metavar="keep-state|new-state",
            help="What state is to be where a Kafka group was put back: kept as it is, or begun anew.",
        ),
    ] = None,
) -> None:
    """Run pipelines against the addresses in the environment (or .env), until SIGTERM or Ctrl-C.

    The first signal drains: what is in flight is finished and confirmed. A second one ends at once.
    PENSTOCK_WORKERS says how many processes share the work. Where it is set, even to 1, a parent replaces one that
    dies, and finds the event that ends whoever runs it.

    --reprocess is for one start after `kafka-consumer-groups --reset-offsets` to an earlier place.
    """
    from penstock.connectors import Settings
    from penstock.pipeline.serving.app import build
    from penstock.pipeline.serving.logs import set_up
    from penstock.pipeline.serving.workers import WORKER

    set_up(log)
    settings, graphs = Settings(), build(apps)
    number = os.environ.get(WORKER, "")
    if number.isdigit():
        _worker(graphs, settings, int(number))
    elif settings.has("PENSTOCK_WORKERS"):
        _before(graphs, settings, reprocess)
        _workers(graphs, settings, [*apps, "--log", log])
    else:
        _before(graphs, settings, reprocess)
        _alone(graphs, settings)


def _before(graphs: Sequence[Graph], settings: Settings, choice: Literal["keep-state", "new-state"] | None) -> None:
    """What is done once, before anything runs."""
    from penstock.pipeline.serving.run import on_loop

    _require(graphs, settings)
    if choice is not None:
        from penstock.pipeline.serving.reprocess import reprocess

        for graph in graphs:
            on_loop(reprocess(graph, settings, choice))


def _alone(graphs: Sequence[Graph], settings: Settings) -> None:
    from penstock.pipeline.serving.run import Service, on_loop, serve

    async def main() -> None:
        await serve(Service(graphs, settings))

    on_loop(main())


def _worker(graphs: Sequence[Graph], settings: Settings, number: int) -> None:
    from penstock.pipeline.engine.confinement import Confinement
    from penstock.pipeline.serving.run import Service, on_loop, serve
    from penstock.pipeline.serving.workers import FOLDER, attend, orders, started

    async def main() -> None:
        folder = Path(os.environ[FOLDER])
        confinement = Confinement(started(folder, number), orders(folder))
        confinement.begin()
        try:
            service = Service(graphs, settings, worker=number, confinement=confinement)
            attend(confinement.look, service.stop)
            await serve(service)
        finally:
            confinement.end()

    on_loop(main())


def _workers(graphs: Sequence[Graph], settings: Settings, arguments: Sequence[str]) -> None:
    import asyncio

    from penstock.pipeline.serving.workers import Workers, warn_of_order

    if settings.process.workers > 1:
        for graph in graphs:
            warn_of_order(graph)
    command = [sys.executable, "-m", "penstock.pipeline.cli", "run", *arguments]
    asyncio.run(Workers(command, settings).run())


def _require(graphs: Sequence[Graph], settings: Settings) -> None:
    """Name every address that is missing, at once."""
    from penstock.errors import ConfigError
    from penstock.pipeline.serving.needs import missing, warn_of_unknown

    warn_of_unknown(settings)
    problems = dict.fromkeys(problem for graph in graphs for problem in missing(graph, settings))
    if problems:
        raise ConfigError("\n".join(problems))


def dev(
    apps: Apps,
    log: Log = "human",
    table: Annotated[bool, typer.Option(help="Show a live table of rates and latencies (on a terminal).")] = True,
) -> None:
    """Run pipelines on this machine alone: whatever has no address is embedded.

    A Valkey server with its data under .penstock/ is the store, and its streams stand in for Kafka and MQTT topics.
    Addresses that are set are used. `penstock send`, `tail` and `dead` in the same folder find it.
    """
    from penstock.pipeline.serving.dev import develop

    develop(apps, style=log, table=table)
