"""Metrics of several engines, or of several worker processes, as one Prometheus page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import Sample
from prometheus_client.parser import text_string_to_metric_families


class Merged:
    """A collector over others: families of one name become one, with the samples of all."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self.families = families

    def collect(self) -> Iterator[Metric]:
        found: dict[str, Metric] = {}
        for family in self.families:
            first = found.get(family.name)
            if first is None:
                first = found[family.name] = Metric(family.name, family.documentation, family.type)
            first.samples.extend(family.samples)
        yield from found.values()


def page(families: Iterable[Metric]) -> bytes:
    """One page of all these families."""
    registry = CollectorRegistry()
    registry.register(Merged(list(families)))
    return generate_latest(registry)


def labelled(pages: Mapping[int, str]) -> Iterator[Metric]:
    """The families of each worker's page, every sample with the label `worker`.

    >>> text = '# HELP size Bytes\\n# TYPE size gauge\\nsize{path="/"} 3.0\\n'
    >>> print(page(labelled({0: text, 1: text})).decode(), end="")
    # HELP size Bytes
    # TYPE size gauge
    size{path="/",worker="0"} 3.0
    size{path="/",worker="1"} 3.0
    """
    for worker, text in pages.items():
        for family in text_string_to_metric_families(text):
            family.samples = [_with_worker(sample, worker) for sample in family.samples]
            yield family


def _with_worker(sample: Sample, worker: int) -> Sample:
    labels = {**sample.labels, "worker": str(worker)}
    return Sample(sample.name, labels, sample.value, sample.timestamp, sample.exemplar)
