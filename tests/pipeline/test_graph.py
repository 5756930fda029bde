"""The graph as data: what reads it finds what it needs."""

from __future__ import annotations

from typing import Any

from penstock import Pipeline, batched, call
from penstock.pipeline.graph import Function, Transform
from tests.pipeline.shop import OUT, Finding, Payment, decide, later, parts, payments, profile_of, same


def many(found: list[Payment]) -> list[Payment]:
    return found


def made(f: Any) -> Function:
    pipeline: Any = Pipeline("demo")
    payments(pipeline).transform(f, stage="it").end()
    node = pipeline.build().node(1)
    assert isinstance(node, Transform)
    assert node.function is not None
    return node.function


def test_which_functions_are_called_in_place() -> None:
    assert [made(f).inline for f in (same, parts, call(same))] == [True, True, True]
    others: list[Any] = [later, call(same, thread=True), call(same, default=1), call(same, cache="1m"), batched(many)]
    assert [made(f).inline for f in others] == [False] * 5


def test_helpers_are_found_beside_functions() -> None:
    pipeline: Any = Pipeline("demo")
    finding = Finding()
    payments(pipeline).enrich(profile=finding, other=profile_of).act(decide, to=OUT)
    assert pipeline.build().helpers == (finding,)


def test_nodes_are_found_by_number_and_by_what_they_consume() -> None:
    pipeline: Any = Pipeline("demo")
    payments(pipeline).transform(same).act(decide, to=OUT)
    graph = pipeline.build()
    assert [node.id for node in graph] == [0, 1, 2]
    assert graph.consumers(1) == (graph.node(2),)
    assert graph.consumers(2) == ()
