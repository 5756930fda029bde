"""`decide` from a topic to a topic of a real broker, every delivery tracked, with both clients.

Measured: decisions per second over a turn of at least 10 s, from the first on, of one process. The input topic was
filled before; offsets are committed once a second and never pass a payment whose decision the broker has not
confirmed, which is checked after each turn: fewer commits than decisions in the output. References:
`references/decide_kafka_confluent.py` and `references/decide_kafka_python.py`, loops by hand over lists of records,
which ask Redis one list ahead.

A third contestant is the pipeline with a transactional sink, which commits twice a second: against the pipeline
without.

penstock does beside that what it always does: order of keys across stages, ids and CloudEvents headers on every
decision, metrics. Broker, Redis and contestant share all cores.
"""

from __future__ import annotations

from functools import partial

from benchmarks import decision, topics
from benchmarks.child import Failed, Program
from benchmarks.measure import Contestant, Figure, Report, ratios, take_turns
from benchmarks.options import Options
from benchmarks.payments import records

SECONDS = 10.0
EVENTS = 1_500_000

LOOPS = {
    "confluent": "benchmarks.references.decide_kafka_confluent",
    "kafka-python": "benchmarks.references.decide_kafka_python",
}


def run(options: Options) -> Report:
    """For each client the loop and the pipeline, in turns, each a process that ends itself."""
    report = Report("kafka-to-kafka", "", unit="decisions/s")
    seconds = options.seconds or SECONDS
    with topics.broker() as kafka, decision.environment() as variables:
        source = topics.name("payments")
        topics.create(kafka.address, source)
        options.say(f"filling a topic with {EVENTS:,} payments")
        topics.fill(kafka.address, source, records(50_000), EVENTS)
        contestants = []
        for client in options.clients:
            own = {**variables, "PENSTOCK_KAFKA": kafka.address, "PENSTOCK_KAFKA_CLIENT": client}
            for name, module, more in (
                (f"hand-written, {client}", LOOPS[client], {}),
                (f"penstock, {client}", _PIPELINE, {}),
                (f"penstock in transactions, {client}", _PIPELINE, {"BENCH_TRANSACTIONAL": "1"}),
            ):
                if options.wants(name):
                    turn = partial(_turn, module, {**own, **more}, source, seconds, options)
                    contestants.append(Contestant(name, turn))
        report.rates = take_turns(contestants, rounds=options.rounds, warm=False, say=options.say)
    for client in options.clients:
        ours, loop = f"penstock, {client}", f"hand-written, {client}"
        committed = f"penstock in transactions, {client}"
        for name, reference, target in ((ours, loop, 0.75), (committed, ours, 0.6)):
            if {name, reference} <= report.rates.keys():
                report.figures.append(Figure(f"{name} / {reference}", ratios(report.rates, name, reference), target))
    return report


_PIPELINE = "benchmarks.decide_pipeline"


def _turn(module: str, own: dict[str, str], source: str, seconds: float, options: Options) -> float:
    """One turn into an output topic of its own. Raises `Failed` where more was committed than arrived there."""
    broker, group, out = own["PENSTOCK_KAFKA"], topics.name("bench"), topics.name("decisions")
    topics.create(broker, out)
    variables = {
        **own,
        "BENCH_KAFKA": broker,
        "BENCH_TOPIC": source,
        "BENCH_OUT": out,
        "BENCH_GROUP": group,
        "BENCH_SECONDS": str(seconds),
        "BENCH_EVENTS": str(EVENTS),
    }
    found = Program.module(module, variables).result(patience=seconds + 90)
    confirmed, arrived = topics.committed(broker, source, group), topics.length(broker, out)
    topics.delete(broker, out)
    if confirmed > arrived:
        raise Failed(f"{module}: {confirmed:,} payments confirmed and {arrived:,} decisions arrived")
    options.say(f"{module}: {found['events']:,} decisions made, {arrived:,} arrived, {confirmed:,} committed")
    rate: float = found["events"] / found["seconds"]
    return rate
