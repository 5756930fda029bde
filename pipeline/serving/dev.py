"""`penstock dev`: pipelines on this machine alone, with whatever has no address embedded."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from penstock.connectors import Endpoint, Http, Kafka, Mqtt, Settings
from penstock.connectors.template import names as braces
from penstock.errors import ConfigError
from penstock.pipeline.graph import Graph, Source
from penstock.pipeline.serving import local
from penstock.pipeline.serving.admin import address
from penstock.pipeline.serving.app import build
from penstock.pipeline.serving.live import Live
from penstock.pipeline.serving.logs import Style, set_up
from penstock.pipeline.serving.needs import endpoints, missing_models, warn_of_unknown
from penstock.pipeline.serving.run import Service, on_loop, serve
from penstock.pipeline.serving.sample import sample
from penstock.pipeline.serving.stand_in import stand_in, variable

if TYPE_CHECKING:
    from rich.console import Console

    from penstock.connectors.store.embedded import Embedded

log = logging.getLogger("penstock")

LISTENERS = {"PENSTOCK_HTTP_LISTEN": "127.0.0.1:8080", "PENSTOCK_ADMIN_LISTEN": "127.0.0.1:9090"}
TRAINING = "train.py"
"""Beside an app, the script that makes its model where the registry has none."""


class Bench:
    """Everything that `penstock dev` puts around pipelines. A context manager: the embedded server ends with it.

    - `settings`: the environment and `.env`, completed with what is embedded.
    - `service`: the pipelines, to be run; made by `service_of` on the loop that runs it.
    - `embedded`: the addresses of what streams stand in for.
    """

    def __init__(self, graphs: Sequence[Graph]) -> None:
        self.graphs = graphs
        given = {**local.read(Path(".env")), **os.environ}
        self.given = Settings(dict(given))
        self.embedded = sorted(_without_address(graphs, self.given))
        self.server = self._embed()
        if self.server is not None:
            given[local.EMBEDDED] = self.server.address
            if not self.given.has("PENSTOCK_STORE"):
                given["PENSTOCK_STORE"] = self.server.address
        for name, default in LISTENERS.items():
            if not self.given.has(name):
                given[name] = _free(default, name)
        self.settings = Settings(given)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        if self.server is not None:
            self.server.stop()

    def leave_word(self) -> None:
        """Tell the other commands of this folder where everything is."""
        given, known = self.given.variables, self.settings.variables
        local.write({name: value for name, value in known.items() if given.get(name) != value})

    def service(self) -> Service:
        """The pipelines, ready to be run on the running loop."""
        return Service(self.graphs, self.settings, endpoint=stand_in(self.settings))

    def _embed(self) -> Embedded | None:
        """The embedded server, where anything needs one. It must be ours, or it would end with its owner."""
        if self.given.has("PENSTOCK_STORE") and not self.embedded:
            return None
        from penstock.connectors.store.embedded import Embedded

        server = Embedded(local.DATA).start()
        if not server.owned:
            raise ConfigError(f"another `penstock dev` runs in this folder ({local.FOLDER}); end it first")
        return server


def develop(apps: Sequence[str], *, style: Style, table: bool) -> None:
    """Run these apps until a signal, embedding what has no address."""
    from rich.console import Console

    console = Console() if sys.stdout.isatty() and table and style == "human" else None
    set_up(style, console=console, terse=True)
    graphs = build(apps)
    with Bench(graphs) as bench:
        warn_of_unknown(bench.given)
        train(graphs, bench.settings)
        bench.leave_word()
        on_loop(_serve(bench, console))


async def _serve(bench: Bench, console: Console | None) -> None:
    service = bench.service()
    showing = asyncio.ensure_future(_show(bench, service, console))
    try:
        await serve(service)
    finally:
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)
        for engine in service.engines:
            found = engine.statistics()
            print(f"{engine.graph.name}: {told(found['events'], 'events')} in, {told(found['actions'], 'actions')} out")


async def _show(bench: Bench, service: Service, console: Console | None) -> None:
    await service.ready.wait()
    for line in welcome(bench):
        print(line, flush=True) if console is None else console.print(
            line, markup=False, highlight=False, soft_wrap=True
        )
    await Live(service.engines, console).run()


def told(counts: object, what: str) -> str:
    """A metric's total in words."""
    assert isinstance(counts, dict)
    return f"{sum(counts.values()):,} {what}"


def welcome(bench: Bench) -> Iterator[str]:
    """What runs, where it listens, and what to try."""
    process = bench.settings.process
    names = " and ".join(graph.name for graph in bench.graphs)
    embedded = f"; what has no address is embedded, its data is under {local.FOLDER}/" if bench.server else ""
    yield f"{names}: running{embedded}"
    paths = [one for graph in bench.graphs for one in endpoints(graph)[0] if isinstance(one, Http)]
    for path in paths:
        yield f"  listens on  http://{process.http_listen}{path.path_or_url}"
    yield f"  admin       http://{process.admin_listen}/readyz and /metrics"
    if bench.embedded:
        yield f"  stands in   for {', '.join(bench.embedded)}"
    yield "Try, in another terminal in this folder:"
    yield from (f"  {line}" for line in suggestions(bench.graphs, process.http_listen))


def suggestions(graphs: Sequence[Graph], listen: str) -> Iterator[str]:
    """Command lines that push an event in and show what comes out."""
    for graph in graphs:
        for source in graph.sources:
            if source.forward is None:
                yield from _pushes(source, listen)
        for sink in endpoints(graph)[1]:
            if isinstance(sink, Kafka | Mqtt):
                yield f"penstock tail {_everything(sink)}"


def _everything(endpoint: Kafka | Mqtt) -> str:
    """The address that shows what is sent to any filled-in form of this one."""
    return f"mqtt:{endpoint.filter}" if isinstance(endpoint, Mqtt) else endpoint.address


def _pushes(source: Source, listen: str) -> Iterator[str]:
    payload = sample(source.schema)
    shown = {"http": False, "other": False}
    for endpoint in source.endpoints:
        kind = "http" if isinstance(endpoint, Http) else "other"
        if shown[kind]:
            continue
        shown[kind] = True
        captured = braces(endpoint.address)
        where = endpoint.address
        for name in captured:
            where = where.replace(f"{{{name}}}", f"{name}-1")
        rest = {name: value for name, value in payload.items() if name not in captured} if captured else payload
        text = msgspec.json.encode(rest).decode().replace("'", "'\\''")
        if isinstance(endpoint, Http):
            yield f"curl --json '{text}' http://{listen}{where.removeprefix('http:')}"
        else:
            yield f"echo '{text}' | penstock send {where}"


def train(graphs: Sequence[Graph], settings: Settings) -> None:
    """Make the models that the registry does not have, with the `train.py` beside the app, in a process of its own."""
    for graph in graphs:
        if not missing_models(graph, settings):
            continue
        script = Path(graph.where.file).parent / TRAINING
        if not script.is_file():
            continue
        log.info(
            "the registry %s has no %s: training with %s", settings.process.models, ", ".join(graph.models), script
        )
        command = [sys.executable, "-m", "penstock.pipeline.cli", "models", "train", str(script)]
        environment = {**os.environ, "PENSTOCK_MODELS": settings.process.models}
        if subprocess.run(command, env=environment, check=False).returncode:
            raise ConfigError(f"training with {script} failed: what it said is above")


def _without_address(graphs: Sequence[Graph], settings: Settings) -> set[str]:
    every: list[Endpoint] = [one for graph in graphs for side in endpoints(graph) for one in side]
    return {one.address for one in every if isinstance(one, Kafka | Mqtt) and not settings.has(variable(one))}


def _free(default: str, name: str) -> str:
    """The default address, or one with a free port where another process has that one."""
    host, port = address(default, name)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            probe.bind((host, 0))
        return f"{host}:{probe.getsockname()[1]}"
