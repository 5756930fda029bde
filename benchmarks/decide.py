"""One decision per event: decode, 20 features from Redis, gradient-boosted trees, encode; no broker.

Measured: payments as JSON bytes that wait in memory, to decisions as JSON bytes in memory. Every contestant runs the
same model on the same features from the same Redis server, with user code for each event. References:

- (a) `references/decide_tasks.py`: one asyncio task per event, redis-py's pool, onnxruntime;
- (b) `references/decide_ticks.py`: a per-event loop by hand over one multiplexed connection, commands packed ahead,
  one write and one model run per loop tick.

penstock does beside that what it always does: order of keys, confirmation, ids of actions, metrics.
Not measured: any broker (`kafka-to-kafka` has one).
"""

from __future__ import annotations

from benchmarks import decision
from benchmarks.machine import first_core, placement
from benchmarks.measure import Contestant, Figure, Report, ratios, take_turns
from benchmarks.options import Options
from benchmarks.payments import records
from benchmarks.penstock_side import drain
from benchmarks.references import decide_tasks, decide_ticks
from penstock.connectors.memory import Memory
from penstock.pipeline.serving.run import on_loop

EVENTS = 60_000
TASK_EVENTS = 6_000

TASKS = "(a) task per event, redis-py pool, onnxruntime"
TICKS = "(b) hand-written loop, batched by tick"


def run(options: Options) -> Report:
    """Both references and the pipeline, in turns, in this process on the first core; Redis on the others."""
    report = Report("decide", "", notes=[placement()])
    values = [record.value for record in records(EVENTS)]
    with decision.environment() as variables, first_core():
        redis, model = variables["PENSTOCK_STORE"], decision.content(variables["PENSTOCK_MODELS"])

        def tasks() -> float:
            return _checked(*on_loop(decide_tasks.run(values[:TASK_EVENTS], redis, model)), TASK_EVENTS)

        def ticks() -> float:
            return _checked(*on_loop(decide_ticks.run(values, redis, model)), EVENTS)

        def penstock() -> float:
            pipeline = decision.pipeline("decide", Memory("payments"), Memory("decisions"))
            turn = on_loop(drain(pipeline, "payments", values, sink="decisions", variables=variables))
            if turn.actions != EVENTS:
                raise RuntimeError(f"{EVENTS:,} payments came to {turn.actions:,} decisions")
            return turn.rate

        contestants = [Contestant(TASKS, tasks), Contestant(TICKS, ticks), Contestant("penstock", penstock)]
        contestants = [each for each in contestants if options.wants(each.name)]
        report.rates = take_turns(contestants, rounds=options.rounds, say=options.say)
    for reference, target in ((TASKS, 6.0), (TICKS, 1.0)):
        if {reference, "penstock"} <= report.rates.keys():
            figure = Figure(f"penstock / {reference}", ratios(report.rates, "penstock", reference), target)
            report.figures.append(figure)
    return report


def _checked(rate: float, decisions: list[bytes], count: int) -> float:
    if len(decisions) != count:
        raise RuntimeError(f"{count:,} payments came to {len(decisions):,} decisions")
    return rate
