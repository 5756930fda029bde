"""The engine seen from outside: its counts as plain numbers, which metrics, the console and tests read, and what
keeps it from being ready."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from penstock.pipeline.engine.once import Keeping

if TYPE_CHECKING:
    from penstock.pipeline.engine.engine import Engine


def statistics(engine: Engine) -> dict[str, Mapping[str, float]]:
    """The engine's counts, by metric and name."""
    events = {lane.source.stage: lane.received for lane in engine.lanes}
    filtered: dict[str, float] = {}
    failures: dict[str, float] = {}
    retries: dict[str, float] = {}
    waiting: dict[str, float] = {}
    for lane in engine.lanes:
        for node in engine.graph:
            if lane.counts[node.id]:
                filtered[node.called] = filtered.get(node.called, 0) + lane.counts[node.id]
        trouble = lane.trouble
        for into, counts in ((failures, trouble.failures), (retries, trouble.retries), (waiting, trouble.waiting)):
            for stage, count in counts.items():
                into[stage] = into.get(stage, 0) + count
    lags = {address: source.lag() for address, (_, source) in engine.sources.items()}
    spans = {address: getattr(source, "span", None) for address, (_, source) in engine.sources.items()}
    store = _told(engine.store)
    models = {ref: _told(predictor) for ref, (predictor, _) in engine.models.items()}
    return {
        "events": events,
        "actions": {address: box.confirmed for address, box in engine.outboxes.items()},
        "repeated": {address: box.repeated for address, box in engine.outboxes.items() if isinstance(box, Keeping)},
        "filtered": filtered,
        "failures": failures,
        "retries": retries,
        "waiting": waiting,
        "parked": {lane.source.stage: lane.feed.parked for lane in engine.lanes},
        "parked_bytes": {lane.source.stage: lane.feed.weight for lane in engine.lanes},
        "spilled": {lane.source.stage: lane.feed.aside.count for lane in engine.lanes if lane.feed.aside is not None},
        "spilled_keys": {
            lane.source.stage: len(lane.feed.aside.keys) for lane in engine.lanes if lane.feed.aside is not None
        },
        "troubled": {lane.source.stage: lane.trouble.flights for lane in engine.lanes},
        "dead_letters": dict(engine.letters.by_stage),
        "dead_letters_kept": {engine.graph.name: engine.letters.known},
        "dead_letters_bytes": {engine.graph.name: engine.letters.size},
        "dead_letters_full": {engine.graph.name: engine.letters.full},
        "in_flight": {lane.source.stage: lane.in_flight for lane in engine.lanes},
        "unconfirmed": {address: box.unsettled for address, box in engine.outboxes.items()},
        "lag": {address: lag for address, lag in lags.items() if lag is not None},
        "span": {address: float(span()) for address, span in spans.items() if span is not None},
        "refused": _by_status(engine, "refused"),
        "turned_away": _by_status(engine, "turned_away"),
        "outage": dict.fromkeys(engine.outages.down, 1),
        "breaker": {
            name: float(breaker.opened is not None)
            for box in engine.outboxes.values()
            for name, breaker in getattr(box.sink, "breakers", {}).items()
        },
        "store": {name: value for name, value in store.items() if isinstance(value, int | float)},
        "store_unsafe": {engine.graph.name: float(bool(engine.assurance.problem))},
        "model_batch": {ref: float(found.get("mean_batch", 0.0)) for ref, found in models.items()},
    }


def _by_status(engine: Engine, what: str) -> dict[str, float]:
    """What sources that answer have counted, under their address and the status: `http:/payments 422`."""
    return {
        f"{address} {status}": count
        for address, (_, source) in engine.sources.items()
        for status, count in sorted(getattr(source, what, {}).items())
    }


def problems(engine: Engine) -> list[str]:
    """What keeps a pipeline from being ready, one line each; empty when it is."""
    found = [f"waiting for {what}: {why}" for what, why in engine.opening.waits.items()]
    found += [f"{address}: {source.problem}" for address, (_, source) in engine.sources.items() if source.problem]
    found += [_of(address, box.sink.problem) for address, box in engine.outboxes.items() if box.sink.problem]
    found += [f"store: {engine.store.problem}"] if engine.store.problem else []
    found += [engine.assurance.problem] if engine.assurance.problem else []
    found += [engine.letters.problem] if engine.letters.problem else []
    found += [f"{dependency} is not available: {why}" for dependency, (_, why) in engine.outages.down.items()]
    if engine.stopping:
        found.append("stopping")
    elif not engine.ready and not found:
        found.append("starting")
    return found


def _of(address: str, problem: str) -> str:
    """A problem of a sink, whose technology is named once.

    >>> _of("kafka:decisions", "kafka: 1/1 brokers are down")
    'kafka:decisions: 1/1 brokers are down'
    """
    return f"{address}: {problem.removeprefix(address.partition(':')[0] + ': ')}"


def _told(thing: Any) -> Mapping[str, Any]:
    """What a connection or batcher tells of itself; nothing where it does not."""
    tell = getattr(thing, "statistics", None)
    if tell is None:
        return {}
    found = tell()
    return {name: getattr(found, name) for name in dir(found) if not name.startswith("_")}
