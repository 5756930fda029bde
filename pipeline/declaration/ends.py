"""Where events come in and go out, as nodes: sources, acts, and the two sides of a through."""

from __future__ import annotations

from typing import Any

from penstock.pipeline import graph as nodes
from penstock.pipeline.declaration.annotations import has
from penstock.pipeline.declaration.dedupe import dedupe_of
from penstock.pipeline.declaration.endpoints import (
    acted,
    check_captures,
    check_endpoint,
    check_filled,
    check_targets,
    horizon,
)
from penstock.pipeline.declaration.making import Making
from penstock.pipeline.declaration.paths import check_free
from penstock.pipeline.declaration.payloads import check_by, check_schema, check_time
from penstock.pipeline.declaration.through import check_through


def source(new: Making) -> nodes.Node:
    """Where events come in."""
    given, where, schema = new.given, new.where, new.given["schema"]
    if not given["at"]:
        new.fail("this source has no endpoint: name at least one, for example Kafka('payments')")
    for endpoint in given["at"]:
        check_endpoint(endpoint, where, "source")
    check_schema(schema, given["decode"], where)
    stage = new.name or "+".join(endpoint.address.partition(":")[2] for endpoint in given["at"])
    for name in ("key", "id"):
        check_by(given[name], schema, where, f"{name}=")
    if given["time"] is not None:
        check_time(given["time"], schema, where)
    for endpoint in given["at"]:
        check_captures(endpoint, schema, where)
    if given["repeats"] not in ("once", "counted"):
        new.fail(f'repeats is {given["repeats"]!r}: it is "once" or "counted"')
    return nodes.Source(
        new.number,
        new.named(stage),
        (),
        where,
        payload=schema,
        scope=new.resources,
        endpoints=given["at"],
        schema=schema,
        key=given["key"],
        identity=given["id"],
        time=given["time"],
        decode=given["decode"],
        repeats=given["repeats"],
    )


def dedupe(new: Making) -> nodes.Node:
    """What drops the events that a source has brought before."""
    source = new.made[new.inputs[0]]
    assert isinstance(source, nodes.Source)
    item = dedupe_of(source.endpoints, new.where)
    stage = new.named(f"dedupe({source.stage})")
    return nodes.Dedupe(new.number, stage, new.inputs, new.where, new.payload, new.scope, items=(item,))


def act(new: Making) -> nodes.Node:
    """Where events become actions."""
    stage = new.named(new.own_name())
    function, result = new.wire(new.given["f"], stage)
    if "generator" in function.kind:
        new.fail(f"act {stage!r} is a generator function: return a payload, an Action, a list of them, or None")
    to = check_targets(new.given["to"], stage, new.where)
    kinds = tuple(dict.fromkeys((*acted(result), new.payload)))
    for endpoint in to:
        check_filled(endpoint, kinds, new.where)
    key = new.given["key"]
    paths = (key,) if isinstance(key, str) else key if isinstance(key, tuple) else ()
    if not paths or not any(all(isinstance(path, str) and has(kind, path) for path in paths) for kind in kinds):
        check_by(key, Any if callable(key) else new.payload, new.where, "key=")
    return nodes.Act(
        new.number,
        stage,
        new.inputs,
        new.where,
        new.payload,
        new.scope,
        new.retry(),
        function,
        to,
        key,
        horizon(new.given["once"], to, new.where),
    )


def forward(new: Making) -> nodes.Node:
    """The near side of a through: events into its topic."""
    topic = check_through(new.given["topic"], new.given["key"], new.payload, new.where)
    check_free(topic, new.made, new.where)
    stage = new.named(f"through({new.name or topic.address.partition(':')[2]})")
    return nodes.Forward(new.number, stage, new.inputs, new.where, new.payload, to=(topic,), key=new.given["key"])


def through(new: Making) -> nodes.Node:
    """The far side of a through: a source on its topic."""
    near = new.made[new.given["forward"]]
    assert isinstance(near, nodes.Forward)
    return nodes.Source(
        new.number,
        new.named(near.stage.removeprefix("through(").removesuffix(")")),
        (),
        new.where,
        near.payload,
        new.resources,
        endpoints=near.to,
        schema=near.payload,
        key=near.key,
        forward=near.id,
    )
