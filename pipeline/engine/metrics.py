"""What the pipeline tells Prometheus: plain counters of the engine, read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

if TYPE_CHECKING:
    from penstock.pipeline.engine.engine import Engine

_BUCKETS = (1e-6, 5e-6, 1e-5, 5e-5, 1e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """Histograms that sampled events fill, and a collector over the engine's own counts.

    Nothing here runs for every event: stages are timed for about one event in a hundred.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.registry = CollectorRegistry()
        self.stage = Histogram(
            "penstock_stage_seconds",
            "Time in a stage, of sampled events",
            ["pipeline", "stage"],
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self.decision = Histogram(
            "penstock_decision_seconds",
            "From receipt to confirmed action, of sampled actions",
            ["pipeline"],
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self.registry.register(self)
        name = engine.graph.name
        self._stages = {node.id: self.stage.labels(name, node.called) for node in engine.graph}
        self._decision = self.decision.labels(name)

    def observe(self, node: int, seconds: float) -> None:
        """One event spent this long in a stage."""
        self._stages[node].observe(seconds)

    def decided(self, seconds: float) -> None:
        """One action was confirmed this long after its event arrived."""
        self._decision.observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """The engine's counts as Prometheus metrics."""
        found = self.engine.statistics()
        name = self.engine.graph.name
        for metric, text in _COUNTERS.items():
            family: Any = CounterMetricFamily(f"penstock_{metric}", text, labels=["pipeline", "name"])
            for label, value in found[metric].items():
                family.add_metric([name, label], value)
            yield family
        for metric, text in _ANSWERS.items():
            family = CounterMetricFamily(f"penstock_{metric}", text, labels=["pipeline", "name", "status"])
            for label, value in found[metric].items():
                address, _, status = label.rpartition(" ")
                family.add_metric([name, address, status], value)
            yield family
        for metric, text in _GAUGES.items():
            family = GaugeMetricFamily(f"penstock_{metric}", text, labels=["pipeline", "name"])
            for label, value in found[metric].items():
                family.add_metric([name, label], value)
            yield family


_COUNTERS = {
    "events": "Events received, by source",
    "actions": "Actions confirmed by their sink, by sink",
    "repeated": "Actions of repeated events, sent again as they were kept, by sink",
    "filtered": "Events dropped on purpose, by stage",
    "failures": "Tries that failed, by stage",
    "retries": "Tries that failed and are made again, by stage",
    "dead_letters": "Dead letters written, by the stage that failed",
}
_ANSWERS = {
    "refused": "Events refused to their HTTP senders, by source and status",
    "turned_away": "HTTP requests of which nothing was begun, by source and status",
}
_GAUGES = {
    "in_flight": "Events received and not finished, by source",
    "waiting": "Events that wait now to be tried again, by stage",
    "parked": "Events that wait in memory behind their key, by source",
    "parked_bytes": "Bytes of payloads that wait in memory behind their key, by source",
    "spilled": "Events that were set aside in the store and wait there, by source",
    "spilled_keys": "Keys that were set aside, by source",
    "troubled": "Events that failed and have no outcome yet, by source",
    "unconfirmed": "Actions handed to a sink and not confirmed, by sink",
    "lag": "Records waiting at the origin, by source",
    "span": "Offsets between the commit and the newest record, of the partition where they are most, by source",
    "dead_letters_kept": "Dead letters in the store, of all processes",
    "dead_letters_bytes": "About how many bytes they take",
    "dead_letters_full": "1 where the limit of dead letters keeps events from being read",
    "outage": "1 for each dependency that does not answer",
    "breaker": "1 for each third party that is asked no more but for probes, else 0",
    "store": "The store connection: commands, writes, mean batch",
    "store_unsafe": "1 where the store, since it was last away, is less safe than was declared (PENSTOCK_DURABILITY)",
    "model_batch": "Mean rows of a model run, by model",
}
