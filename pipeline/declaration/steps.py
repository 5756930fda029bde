"""What happens to events in between, as nodes: transforms and filters, what is found out, streams that join and end."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from penstock.pipeline import graph as nodes
from penstock.pipeline.declaration import inference
from penstock.pipeline.declaration.annotations import admits_none, either, fits, label, members
from penstock.pipeline.declaration.callables import narrowed
from penstock.pipeline.declaration.making import Making
from penstock.pipeline.declaration.payloads import check_field
from penstock.pipeline.declaration.updating import check_updating
from penstock.stages.function import inner
from penstock.stages.helper import Helper, stage_of, updating

DROPS = "to drop events use .filter(...), or yield the ones to keep"


def transform(new: Making) -> nodes.Node:
    """Events into other events."""
    stage = new.named(new.own_name())
    function, result = new.wire(new.given["f"], stage)
    if result is type(None) or result is None:
        new.fail(f"transform {stage!r} returns None: {DROPS}")
    if function.kind in ("plain", "coroutine") and admits_none(result):
        new.fail(f"transform {stage!r} may return None ({label(result)}): {DROPS}")
    return nodes.Transform(new.number, stage, new.inputs, new.where, result, new.scope, new.retry(), function)


def filter(new: Making) -> nodes.Node:
    """The events of a stream that are kept; or, as the twin of another filter, those that are not."""
    twin = new.given.get("twin")
    if twin is not None:
        yes = new.made[twin]
        assert isinstance(yes, nodes.Filter)
        return nodes.Filter(
            new.number,
            yes.stage,
            new.inputs,
            new.where,
            new.payload,
            new.scope,
            None,
            yes.function,
            twin,
            True,
        )
    stage = new.named(new.own_name())
    function, result = new.wire(new.given["f"], stage)
    if "generator" in function.kind:
        new.fail(f"{stage!r} is a generator function: return True or False, or .transform(...) to yield")
    kept = narrowed(inner(new.given["f"]))
    if kept is None and not fits(result, bool):
        new.fail(f"{stage!r} returns {label(result)}: it says which events to keep, so it returns bool")
    payload = new.payload if kept is None or new.given.get("split") else kept
    return nodes.Filter(new.number, stage, new.inputs, new.where, payload, new.scope, None, function)


def of(new: Making) -> nodes.Node:
    """The events of one class."""
    kind = new.given["type"]
    if not isinstance(kind, type) or kind is type(None):
        new.fail(f".of({label(kind)}) takes one class, of those that the stream carries: {label(new.payload)}")
    if not any(fits(kind, member) or fits(member, kind) for member in members(new.payload)):
        new.fail(f".of({label(kind)}) never holds: the stream carries {label(new.payload)}")
    return nodes.Of(new.number, "", new.inputs, new.where, kind, new.scope, None, kind)


def enrich(new: Making) -> nodes.Node:
    """What is found about events, by name."""
    names: Mapping[str, Any] = new.given["names"]
    if not names:
        new.fail("this enrich adds nothing: name what it finds, for example profile=lookup('card:{card}', Profile)")
    scope, items = dict(new.scope), []
    for name, item in names.items():
        new.check_new(name)
        made: nodes.Function | Helper[Any] = item
        if isinstance(item, Helper) and not isinstance(item, type):
            for path in item.fields:
                check_field(path, new.payload, new.where, f"{name}=")
            if updating(item):
                check_updating(name, item, new.payload, new.where)
                new.named(stage_of(name, item))
            scope[name] = item.answer
        else:
            made, scope[name] = new.wire(item, name)
            if "generator" in made.kind:
                new.fail(f"{name}= is a generator function: an enrichment is one value, so return it")
            if scope[name] is type(None):
                new.fail(f"{name}= returns None: it is there to return what it has found")
        items.append((name, made))
    stage = new.unique(f"enrich({','.join(names)})")
    return nodes.Enrich(new.number, stage, new.inputs, new.where, new.payload, scope, None, tuple(items))


def infer(new: Making) -> nodes.Node:
    """A prediction by a model."""
    given = new.given
    answer = inference.check(given, new.where)
    new.check_new(given["name"])
    stage = new.named(new.name or given["ref"])
    features = fallback = None
    features_type: Any = new.payload
    if given["features"] is not None:
        features, features_type = new.wire(given["features"], f"{stage} features")
    inference.check_features(features, features_type, stage, new.where, many=given["many"])
    if given["fallback"] is not None:
        fallback, result = new.wire(given["fallback"], f"{stage} fallback")
        inference.check_fallback(given["fallback"], fallback, result, stage, new.where, many=given["many"])
    return nodes.Infer(
        new.number,
        stage,
        new.inputs,
        new.where,
        new.payload,
        {**new.scope, given["name"]: answer},
        model=given["ref"],
        features=features,
        features_type=features_type,
        name=given["name"],
        fallback=fallback,
        deadline=inference.deadline(given, new.where),
        challenger=given["challenger"],
        share=given["share"],
        shadow=given["shadow"],
        many=given["many"],
    )


def merge(new: Making) -> nodes.Node:
    """Several streams as one."""
    if new.given["foreign"]:
        new.fail("merge() joins streams of different pipelines: an event belongs to one pipeline")
    if len(set(new.inputs)) < len(new.inputs):
        new.fail("merge() is given one stream twice: each of its events would come once all the same")
    inputs = [new.made[number] for number in new.inputs]
    payload = functools.reduce(either, (node.payload for node in inputs))
    first, *others = (node.scope for node in inputs)
    shared = {name: kind for name, kind in first.items() if all(name in one and one[name] == kind for one in others)}
    return nodes.Merge(new.number, "", new.inputs, new.where, payload, shared)


def end(new: Making) -> nodes.Node:
    """Where a stream ends on purpose."""
    return nodes.End(new.number, "", new.inputs, new.where, new.payload, new.scope)
