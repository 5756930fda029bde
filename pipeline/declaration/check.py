"""Checking a declaration: drafts in, a frozen graph out, every mistake named with the user's line."""

from __future__ import annotations

import inspect
from contextlib import AbstractAsyncContextManager
from typing import Any, get_args, get_origin

from penstock.errors import DeclarationError, Where
from penstock.pipeline.declaration.callables import hints, kind_of, signature
from penstock.pipeline.declaration.drafts import nodes_of
from penstock.pipeline.declaration.endpoints import check_endpoint
from penstock.pipeline.declaration.names import check_name
from penstock.pipeline.declaration.paths import check_paths
from penstock.pipeline.declaration.pipeline import Pipeline
from penstock.pipeline.declaration.transactional import check_transactional
from penstock.pipeline.declaration.updating import check_repeats
from penstock.pipeline.graph import Graph, Order
from penstock.stages.function import length
from penstock.stages.outcome import Retries, counts


def check(pipeline: Pipeline) -> Graph:
    """The pipeline as a graph. Raises `DeclarationError` at the first mistake, in the order of the user's lines."""
    _check_settings(pipeline)
    nodes = nodes_of(pipeline.drafts, _resources(pipeline))
    check_paths(nodes, pipeline.where, pipeline.name)
    check_transactional(nodes, pipeline.record, pipeline.where)
    graph = Graph(
        pipeline.name,
        tuple(nodes),
        order=pipeline.order,
        concurrency=pipeline.concurrency,
        latency_budget=_budget(pipeline),
        retry=pipeline.retry,
        record=pipeline.record,
        resources={name: opener for name, opener, _ in pipeline.resources},
        where=pipeline.where,
    )
    check_repeats(graph)
    return graph


def _check_settings(pipeline: Pipeline) -> None:
    name, where = str(pipeline.name), pipeline.where
    if not name or not all(letter.isalnum() or letter in "._-" for letter in name):
        raise DeclarationError(f"{name!r} is no pipeline name: use letters, digits, '.', '_' and '-'", where)
    if pipeline.order not in get_args(Order):
        raise DeclarationError(f'order is {pipeline.order!r}: it is "key", "partition" or "none"', where)
    if not counts(pipeline.concurrency):
        raise DeclarationError(
            f"concurrency is {pipeline.concurrency!r}: it is the number of events in flight, at least 1", where
        )
    retry: Any = pipeline.retry
    if not isinstance(retry, Retries):
        raise DeclarationError(f"retry is {retry!r}: write Retries(attempts=3, first='100ms', longest='10s')", where)
    if pipeline.record is not None:
        check_endpoint(pipeline.record, where, "sink")
    _budget(pipeline)


def _budget(pipeline: Pipeline) -> float | None:
    try:
        return length("latency_budget", pipeline.latency_budget)
    except DeclarationError as error:
        raise DeclarationError(error.message, pipeline.where) from None


def _resources(pipeline: Pipeline) -> dict[str, tuple[Any, Where]]:
    """What each resource's functions get, as far as the opener's annotation tells, and where it was declared."""
    found: dict[str, tuple[Any, Where]] = {}
    for name, opener, where in pipeline.resources:
        if name in found:
            raise DeclarationError(f"resource {name!r} is declared twice, first at {found[name][1]}", where)
        check_name(name, {}, where)
        found[name] = (_opened(name, opener, where), where)
    return found


def _opened(name: str, opener: Any, where: Where) -> Any:
    if not callable(opener):
        raise DeclarationError(
            f"resource {name!r} is {opener!r}: give a function that returns an async context manager", where
        )
    if kind_of(opener) == "coroutine":
        raise DeclarationError(
            f"resource {name!r} is a coroutine function: give one that returns an async context manager, "
            "for example with @contextlib.asynccontextmanager on a generator",
            where,
        )
    found = signature(opener)
    if found is not None:
        try:
            found.bind()
        except TypeError:
            called = f"{getattr(opener, '__name__', opener)}()"
            raise DeclarationError(
                f"resource {name!r} is called with nothing, and {called} wants arguments: wrap it in a function", where
            ) from None
    inner = inspect.unwrap(opener)
    if inspect.isgeneratorfunction(inner) or (inner is opener and inspect.isasyncgenfunction(inner)):
        raise DeclarationError(
            f"resource {name!r} is a generator function: make it async, with @contextlib.asynccontextmanager on it",
            where,
        )
    returned = hints(opener).found.get("return", Any)
    entered = inspect.isasyncgenfunction(inner) or get_origin(returned) is AbstractAsyncContextManager
    return (*get_args(returned), Any)[0] if entered else Any
