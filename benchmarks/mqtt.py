"""From a real Mosquitto through four Python stages on dicts, at least once: against a paho handler by hand.

Measured: the rate at which a process takes what waits for it in its session, 60,000 payments at QoS 1, from the first
to the last. Both are MQTT 5 clients with manual acknowledgement, each payment acknowledged when it is processed, and
the same Receive Maximum. A backlog, because a publisher that shares two cores would be measured with them.
"""

from __future__ import annotations

from benchmarks import mqtt_load, topics
from benchmarks.child import Program
from benchmarks.measure import Contestant, Figure, Report, ratios, take_turns
from benchmarks.options import Options
from benchmarks.payments import records
from tests.servers import Mosquitto, Redis

EVENTS = 60_000
_LOOP, _OURS = "hand-written paho handler", "penstock"
_MODULES = {_LOOP: "benchmarks.references.mqtt_paho", _OURS: "benchmarks.mqtt_pipeline"}


def run(options: Options) -> Report:
    """The handler and the pipeline, in turns, each a process that ends itself."""
    report = Report("mqtt", "")
    values = [record.value for record in records(EVENTS)]
    with Mosquitto() as broker, Redis() as redis:
        variables = {"PENSTOCK_MQTT": broker.address, "PENSTOCK_STORE": redis.address}
        contestants = [
            Contestant(name, lambda module=module: _turn(module, variables, values))  # type: ignore[misc]
            for name, module in _MODULES.items()
            if options.wants(name)
        ]
        report.rates = take_turns(contestants, rounds=options.rounds, warm=False, say=options.say)
    if {_LOOP, _OURS} <= report.rates.keys():
        report.figures = [Figure(f"{_OURS} / {_LOOP}", ratios(report.rates, _OURS, _LOOP), 0.8)]
    return report


def _turn(module: str, own: dict[str, str], values: list[bytes]) -> float:
    """Subscribe and leave, let payments gather in the session, and take them."""
    topic = topics.name("payments")
    variables = {**own, "BENCH_TOPIC": topic, "BENCH_GROUP": topics.name("bench")}
    with Program.module(module, variables).serving():
        pass
    mqtt_load.publish(own["PENSTOCK_MQTT"], topic, values)
    turn = {"BENCH_SECONDS": "60", "BENCH_EVENTS": str(len(values))}
    found = Program.module(module, {**variables, **turn}).result(patience=90)
    rate: float = found["events"] / found["seconds"]
    return rate
