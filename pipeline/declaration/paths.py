"""Checking what only the whole graph shows: streams that lead nowhere, sources and replies that collide."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from penstock.connectors import Endpoint
from penstock.errors import DeclarationError, Where
from penstock.pipeline.graph import Act, End, Filter, Forward, Node, Of, Source

Choice = tuple[tuple[str, int], Any]
"""A fork of the graph and the way taken there."""


def check_paths(nodes: Sequence[Node], where: Where, name: str) -> None:
    """Raise `DeclarationError` at the first stage that its surroundings make wrong."""
    if not any(isinstance(node, Source) for node in nodes):
        raise DeclarationError(f"pipeline {name!r} has no source: begin with .source(...)", where)
    _leaves(nodes)
    _sources(nodes)
    _replies(nodes)


def _leaves(nodes: Sequence[Node]) -> None:
    consumed = {number for node in nodes for number in node.inputs}
    twins = {node.twin for node in nodes if isinstance(node, Filter)}
    for node in nodes:
        if node.id in consumed or isinstance(node, Act | End):
            continue
        kind = "through" if isinstance(node, Source) and node.forward is not None else node.kind
        what = f"the stream of the {kind} {node.stage!r}" if node.stage else f"the stream of this {kind}"
        if isinstance(node, Filter) and (node.negate or node.id in twins):
            what = f"the {'no' if node.negate else 'yes'} side of the split {node.stage!r}"
        raise DeclarationError(
            f"{what} leads nowhere: add .act(..., to=...), or .end() if it is kept for what its stages do", node.where
        )


def check_free(topic: Endpoint, before: Sequence[Node], where: Where) -> None:
    """Refuse a topic for a through that events come from already."""
    for node in before:
        if not isinstance(node, Source) or _mark(topic) not in map(_mark, node.endpoints):
            continue
        if node.forward is None:
            raise DeclarationError(
                f"{topic.address} is a source of this pipeline, at {node.where}, so events would go round in it: "
                "a through has a topic of its own",
                where,
            )
        raise DeclarationError(
            f"{topic.address} is the topic of the through at {node.where} already: give this one a topic of its own, "
            "or merge both streams before one through",
            where,
        )


def _sources(nodes: Sequence[Node]) -> None:
    seen: dict[tuple[str, str, str], Source] = {}
    for source in nodes:
        if not isinstance(source, Source):
            continue
        for endpoint in source.endpoints:
            first = seen.get(_mark(endpoint))
            if first is not None:
                own = first.forward is None
                what = "a source of this pipeline already, at" if own else "the topic of the through at"
                advice = "that stream twice" if own else "its stream"
                raise DeclarationError(
                    f"{endpoint.address} is {what} {first.where}: use {advice} instead", source.where
                )
            seen[_mark(endpoint)] = source
    for act in nodes:
        for endpoint in act.to if isinstance(act, Act) and not isinstance(act, Forward) else ():
            found = seen.get(_mark(endpoint))
            if found is not None and found.forward is not None:
                raise DeclarationError(
                    f"{act.stage!r} acts to {endpoint.address}, the topic of the through at {found.where}: "
                    "nothing else writes there, so name another topic",
                    act.where,
                )


def _mark(endpoint: Endpoint) -> tuple[str, str, str]:
    """What two endpoints have in common that bring the same events: names of captures make no difference."""
    place = re.sub(r"\{.*?\}", "{}", endpoint.address)
    return place, str(getattr(endpoint, "on", "")), str(getattr(endpoint, "method", ""))


def _replies(nodes: Sequence[Node]) -> None:
    """At most one reply for an event, whichever way it goes, and somebody who waits for it."""
    found: list[tuple[Act, int, frozenset[Choice]]] = []
    for node in nodes:
        if not isinstance(node, Act) or not any(endpoint.address == "reply" for endpoint in node.to):
            continue
        routes = _routes(nodes, node.id)
        if not any(_waited(endpoint) for origin, _ in routes for endpoint in _endpoints(nodes[origin])):
            origins = [nodes[origin] for origin, _ in routes]
            ended = next((one for one in origins if isinstance(one, Source) and one.forward is not None), None)
            raise DeclarationError(
                f"{node.stage!r} acts to Reply(), but no Http source leads to it, so nobody waits for the answer"
                + (f": past the through at {ended.where} the request is over" if ended is not None else ""),
                node.where,
            )
        stored = [one for origin, _ in routes for one in _endpoints(nodes[origin]) if getattr(one, "durable", False)]
        if stored:
            raise DeclarationError(
                f"{node.stage!r} acts to Reply(), and {stored[0].address} is durable=True: its sender is answered when "
                "the event is safe, before anything is decided. Leave out one of the two",
                node.where,
            )
        found += [(node, origin, choices) for origin, choices in routes]
    for (first, origin, choices), (second, other, others) in combinations(found, 2):
        if origin == other and not _exclusive(choices, others):
            if first is second:
                raise DeclarationError(
                    f"{first.stage!r} acts to Reply() after a merge of streams that all carry the same event, "
                    "so it would be answered twice",
                    first.where,
                )
            raise DeclarationError(
                f"{second.stage!r} is a second reply to one request; the first is {first.stage!r} at {first.where}. "
                "Two replies stand on the two sides of a .split(...)",
                second.where,
            )


def _routes(nodes: Sequence[Node], number: int) -> list[tuple[int, frozenset[Choice]]]:
    """Every way from a source to a stage: the source, and which side was taken at each fork."""
    node = nodes[number]
    if isinstance(node, Source):
        return [(number, frozenset())]
    choice: frozenset[Choice] = frozenset()
    if isinstance(node, Filter):
        fork = number if node.twin is None else node.twin
        choice = frozenset({(("split", fork), not node.negate)})
    elif isinstance(node, Of):
        choice = frozenset({(("of", node.inputs[0]), node.type)})
    return [(origin, choices | choice) for one in node.inputs for origin, choices in _routes(nodes, one)]


def _exclusive(one: frozenset[Choice], other: frozenset[Choice]) -> bool:
    """Whether no event can take both ways."""
    return any(fork == at and _apart(side, way) for fork, side in one for at, way in other)


def _apart(side: Any, way: Any) -> bool:
    if isinstance(side, bool):
        return bool(side != way)
    return not (issubclass(side, way) or issubclass(way, side))


def _endpoints(node: Node) -> tuple[Endpoint, ...]:
    return node.endpoints if isinstance(node, Source) else ()


def _waited(endpoint: Endpoint) -> bool:
    return endpoint.address.startswith(("http:/", "memory:")) and "://" not in endpoint.address
