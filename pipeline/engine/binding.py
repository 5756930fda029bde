"""From a graph's nodes to the functions and objects that the written text calls by name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

from penstock.connectors import Endpoint, Message
from penstock.connectors.template import filler, part
from penstock.connectors.template import names as braces
from penstock.errors import BadEvent
from penstock.pipeline import graph as nodes
from penstock.pipeline.engine.delivery import deliver
from penstock.pipeline.engine.lane import Lane
from penstock.pipeline.engine.marks import Marks, space
from penstock.pipeline.engine.verdict import fatal
from penstock.pipeline.graph import Function
from penstock.pipeline.place import place
from penstock.stages.act import Acting, Recording, Target
from penstock.stages.caller import Bounded, Caller, ListCaller
from penstock.stages.forward import Forwarding
from penstock.stages.function import MISSING
from penstock.stages.helper import Failure, stage_of, together, updating
from penstock.stages.inference import Inference, fallen
from penstock.stages.outcome import Reject
from penstock.stages.payload import getter, is_mapping
from penstock.stages.seen import Seeing, Seen, compared

if TYPE_CHECKING:
    from penstock.pipeline.engine.engine import Engine


class Binding:
    """Opens what stages need in this process: callers, helpers, models, and the outboxes they act to."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def names(self, lane: Lane) -> dict[str, Any]:
        """Everything the written functions of a lane call, under the names they use."""
        names = _own(lane) | {f"r_{name}": resource for name, resource in self.engine.resources.items()}
        for node in self.engine.graph:
            match node:
                case nodes.Transform() | nodes.Filter():
                    names |= self._function(node.function, str(node.id))
                    names[f"nothing{node.id}"] = _nothing(node.stage)
                case nodes.Of():
                    names[f"type{node.id}"] = node.type
                case nodes.Enrich():
                    for name, item in node.items:
                        if isinstance(item, Seen):
                            names |= self._seen(item, node, f"{node.id}_{name}", lane)
                        else:
                            names |= self._item(item, f"{node.id}_{name}")
                case nodes.Infer():
                    names |= self._inference(node)
                case nodes.Forward():
                    names[f"build{node.id}"] = self._forwarding(node, lane).build
                case nodes.Act():
                    names |= self._function(node.function, str(node.id))
                    acting = self._acting(node, lane)
                    names[f"build{node.id}"] = acting.build
                    if self.engine.graph.record is not None:
                        recording = Recording(acting, self._target(self.engine.graph.record))
                        names |= {f"record{node.id}": recording.build, f"whole{node.id}": recording.whole}
        return names

    def _function(self, function: Function | None, tag: str) -> dict[str, Any]:
        if function is None:
            return {}
        names: dict[str, Any] = {f"f{tag}": function.target}
        if function.many:
            many = ListCaller(
                function.target,
                function.takes,
                clock=self.engine.clock,
                coroutine=function.kind == "coroutine",
                max=function.max,
                timeout=function.timeout,
                thread=function.thread,
            )
            return names | {f"ask{tag}": many.ask, f"ask_many{tag}": many.ask_many}
        if not function.inline:
            one = Caller(
                function.target,
                function.takes,
                clock=self.engine.clock,
                coroutine=function.kind == "coroutine",
                timeout=function.timeout,
                default=function.default,
                cache=function.cache,
                thread=function.thread,
            )
            names[f"ask{tag}"] = one.ask
        return names

    def _item(self, item: Any, tag: str) -> dict[str, Any]:
        if isinstance(item, Function):
            return self._function(item, tag)
        if updating(item):
            name = stage_of(tag.partition("_")[2], item)
            asker: Any = item.open(self.engine.store, space(self.engine.site.group, name, self.engine.generation))
            if self.engine.watermarks is not None:
                self.engine.watermarks.watch(asker.forget)
        else:
            asker = item.open(self.engine.store)
        default = getattr(item, "default", MISSING)
        names = {f"question{tag}": asker.question}
        if default is not MISSING and self.engine.graph.latency_budget is not None:
            asker = Bounded(asker, default, self.engine.clock)
        return names | {f"ask{tag}": asker.ask, f"ask_many{tag}": asker.ask_many}

    def _seen(self, item: Seen, node: nodes.Enrich, tag: str, lane: Lane) -> dict[str, Any]:
        by = lane.records.distinct if item.by is None else compared(item.by, node.payload)
        space = f"penstock:{self.engine.site.group}:seen:{node.stage}:"
        asker = Seeing(item.within, by, self.engine.store, space, self.engine.claims)
        return {f"question{tag}": asker.question, f"ask{tag}": asker.ask, f"ask_many{tag}": asker.ask_many}

    def _inference(self, node: nodes.Infer) -> dict[str, Any]:
        def loaded(ref: str | None) -> Any:
            if ref is None:
                return None
            predictor, rows = self.engine.models[ref]
            kind = node.features_type
            if node.many and getattr(kind, "__origin__", None) is list:
                kind = kind.__args__[0]
            return predictor, rows(kind)

        tag = str(node.id)
        inference = Inference(
            loaded(node.model),
            clock=self.engine.clock,
            challenger=loaded(node.challenger),
            share=node.share,
            shadow=loaded(node.shadow),
            many=node.many,
        )
        names = {f"question{tag}": inference.question, f"ask{tag}": inference.ask, f"ask_many{tag}": inference.ask_many}
        if node.features is not None:
            names |= self._function(node.features, f"{tag}_features")
        if node.fallback is not None:
            names |= {f"fallback{tag}": node.fallback.target, f"fallen{tag}": fallen}
        return names

    def _target(self, declared: Endpoint) -> Target:
        if declared.address == "reply":
            return Target(_reply, "reply", None)
        endpoint = self.engine.endpoint(declared)
        to = endpoint.address if "://" in endpoint.address else endpoint.address.partition(":")[2]
        fill = filler(to, part if "://" in to else str) if braces(to) else None
        return Target(self.engine.outboxes[place(endpoint)].push, to, fill)

    def _acting(self, node: nodes.Act, lane: Lane) -> Acting:
        return Acting(
            node.stage,
            self.engine.graph.name,
            [self._target(declared) for declared in node.to],
            key=None if node.key is None else _first_of(node.key),
            identify=lane.records.identify,
            clock=self.engine.clock.time,
        )

    def _forwarding(self, node: nodes.Forward, lane: Lane) -> Forwarding:
        assert node.key is not None
        return Forwarding(
            node.stage,
            self.engine.graph.name,
            self._target(node.to[0]),
            key=getter(node.key, is_mapping(node.payload)),
            identify=lane.records.identify,
            describe=lane.records.describe,
        )


def _own(lane: Lane) -> dict[str, Any]:
    """The engine's own names in the text of a lane's functions."""
    engine, feed, records = lane.engine, lane.feed, lane.records
    return {
        "BadEvent": BadEvent,
        "Failure": Failure,
        "counts": lane.counts,
        "decode": records.decode,
        "deliver": deliver,
        "deliver_holding": lane.holds.deliver,
        "describe": records.describe,
        "failed": lane.trouble.failed,
        "fatal": fatal,
        "free": feed.free,
        "gather": asyncio.gather,
        "key_of": records.key_of,
        "keyless": BadEvent(f"the key field {lane.source.key} is null", status=422),
        "mark": Marks(lane.source, records.declared, engine.watermarks, lane.floor),
        "now": engine.clock.monotonic,
        "observe": engine.metrics.observe,
        "park": feed.park,
        "perf_counter": perf_counter,
        "push": feed.ready.append,
        "refuse": lane.trouble.refuse,
        "table": feed.table,
        "together": together,
        "troubled": lane.troubled,
        "unusual": records.unusual,
        "wait": feed.wait,
    }


def _reply(message: Message) -> None:
    """Keep a reply with its record: the waiting sender gets it when the event is finished."""
    answers = message.batch.answers.setdefault(message.index, [])
    if isinstance(answers, list):
        answers.append(message)
    message.batch.settle(message.index)


def _first_of(by: Any) -> Callable[[Any, Any], Any]:
    """Read a key from the action's data, else from the payload."""

    def read(data: Any, payload: Any) -> Any:
        for one in (data, payload):
            try:
                return getter(by, isinstance(one, Mapping))(one)
            except (AttributeError, KeyError, TypeError):
                continue
        raise Reject(f"neither the action nor the payload has the key {by!r}")

    return read


def _nothing(stage: str) -> Reject:
    return Reject(f"{stage!r} returned None: to drop events use .filter(...), or yield the ones to keep")
