"""Over HTTP through four Python stages on dicts: against aiohttp handlers by hand, one event a request and NDJSON.

Measured: answered payments per second. The server is one process on the first core; the load generator on the others
keeps 64 connections busy with one request each (NDJSON: 4 connections, 1000 payments a request), packed ahead. Both
answer 202 once the payments are processed. Where the generator shares a core with nothing it is faster than either
server; the notes tell how busy the machine was.
"""

from __future__ import annotations

import json

from benchmarks.child import Failed, Program
from benchmarks.machine import pin, placement
from benchmarks.measure import Contestant, Figure, Report, ratios, take_turns
from benchmarks.options import Options
from tests.servers import Redis
from tests.servers.port import free_port

SECONDS = 4.0
_MODULES = {"hand-written aiohttp": "benchmarks.references.http_aiohttp", "penstock": "benchmarks.http_pipeline"}
_FORMS = {"one event a request": (64, 1), "NDJSON": (4, 1000)}


def run(options: Options) -> Report:
    """The handlers and the pipeline, in turns, for each form."""
    report = Report("http", "", notes=[placement()])
    seconds = options.seconds or SECONDS
    with Redis() as redis:
        pin(redis.pid, measured=False)
        contestants = [
            Contestant(
                f"{name}, {form}",
                lambda module=module, how=how: _turn(module, redis.address, seconds, *how),  # type: ignore[misc]
            )
            for form, how in _FORMS.items()
            for name, module in _MODULES.items()
            if options.wants(name)
        ]
        report.rates = take_turns(contestants, rounds=options.rounds, warm=False, say=options.say)
    for form in _FORMS:
        loop, ours = (f"{name}, {form}" for name in _MODULES)
        if {loop, ours} <= report.rates.keys():
            report.figures.append(Figure(f"{ours} / hand-written", ratios(report.rates, ours, loop), 0.8))
    return report


def _turn(module: str, store: str, seconds: float, connections: int, lines: int) -> float:
    port = free_port()
    variables = {"PENSTOCK_HTTP_LISTEN": f"127.0.0.1:{port}", "PENSTOCK_STORE": store}
    with Program.module(module, variables).serving() as server:
        pin(server.pid, measured=True)
        how = {"port": port, "connections": connections, "seconds": seconds, "lines": lines}
        load = Program.module("benchmarks.http_load", {}, json.dumps(how))
        found = load.result(patience=seconds + 30, apart=True)
    if "problem" in found:
        raise Failed(f"{module} answered: {found['problem']}")
    rate: float = found["requests"] * lines / found["seconds"]
    return rate
