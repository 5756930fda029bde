"""From the start of the process to ready, with a warm model: against an interpreter that imports the same modules.

Measured: seconds from the process's start to its line `ready`. penstock's process runs the pipeline of `decide` as
`penstock run` does: it is ready when it has built and checked the graph, connected to a real Kafka and a real Redis,
joined its group's topic, loaded the model, verified and warmed it, and listens on its admin port. The reference
imports every third-party module that this process had imported when it was ready (it is asked first), and does nothing
with them. Both find bytecode for all they import, as an installation has it: it is written by what runs first, which
does not count.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from time import perf_counter

from benchmarks import decision, topics
from benchmarks.child import Program
from benchmarks.measure import Contestant, Figure, Report, ratios, take_turns
from benchmarks.options import Options

_IMPORTS, _OURS = "imports alone", "penstock, ready"


def run(options: Options) -> Report:
    """Both processes, in turns."""
    report = Report("start", "", unit="s")
    with (
        topics.broker() as kafka,
        decision.environment() as variables,
        tempfile.TemporaryDirectory(prefix="penstock-start-") as folder,
    ):
        source, out = topics.name("payments"), topics.name("decisions")
        for topic in (source, out):
            topics.create(kafka.address, topic)
        # Where the environment forbids to write bytecode, a checkout would be compiled at each start.
        bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(Path(folder) / "bytecode")}
        addresses = {"PENSTOCK_KAFKA": kafka.address, "BENCH_TOPIC": source, "BENCH_OUT": out}
        own = {**variables, **bytecode, **addresses}
        modules = Path(folder) / "modules"
        _turn(_pipeline({**own, "BENCH_MODULES": str(modules)}))
        count = len(modules.read_text(encoding="utf-8").split())
        report.notes.append(f"{count} third-party modules")
        imports = Program((sys.executable, str(Path(__file__).parent / "imports.py"), str(modules)), bytecode)
        contestants = [
            Contestant(_IMPORTS, lambda: _turn(imports)),
            Contestant(_OURS, lambda: _turn(_pipeline(own))),
        ]
        report.rates = take_turns(contestants, rounds=options.rounds, say=options.say)
    report.figures = [Figure(f"{_OURS} / {_IMPORTS}", ratios(report.rates, _OURS, _IMPORTS), 1.5, at_most=True)]
    return report


def _pipeline(variables: dict[str, str]) -> Program:
    return Program.module("benchmarks.decide_pipeline", {**variables, "BENCH_GROUP": topics.name("bench")})


def _turn(program: Program) -> float:
    began = perf_counter()
    with program.serving():
        return perf_counter() - began
