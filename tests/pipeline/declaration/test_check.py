"""Settings of a pipeline, and its resources."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from penstock import DeclarationError, Pipeline, Retries
from penstock.errors import Where
from tests.pipeline.mistakes import mistake
from tests.pipeline.shop import OUT, Decision, Payment, decide, payments


def refused(**settings: Any) -> str:
    """What is said of a pipeline with these settings, without its place."""
    name = settings.pop("name", "demo")
    pipeline: Any = Pipeline(name, **settings)
    payments(pipeline).act(decide, to=OUT)
    with pytest.raises(DeclarationError) as found:
        pipeline.build()
    assert found.value.where == pipeline.where
    return found.value.message


@pytest.mark.parametrize("name", ["", "card fraud", "a/b", "a{b}"])
def test_a_pipeline_name_is_one_word(name: str) -> None:
    assert refused(name=name) == f"{name!r} is no pipeline name: use letters, digits, '.', '_' and '-'"


def test_order() -> None:
    assert refused(order="time") == """order is 'time': it is "key", "partition" or "none\""""


@pytest.mark.parametrize("concurrency", [0, -1, "256", 1.5, True])
def test_concurrency(concurrency: Any) -> None:
    said = f"concurrency is {concurrency!r}: it is the number of events in flight, at least 1"
    assert refused(concurrency=concurrency) == said


@pytest.mark.parametrize("retry", [3, "3 times", False])
def test_retry(retry: Any) -> None:
    assert refused(retry=retry) == f"retry is {retry!r}: write Retries(attempts=3, first='100ms', longest='10s')"


def test_latency_budget() -> None:
    assert refused(latency_budget="quickly") == (
        """latency_budget: 'quickly' is not a length of time: write for example "250ms", "10s", "5m", "24h", "7d\""""
    )
    assert refused(latency_budget="0ms") == (
        "latency_budget: '0ms' is no time at all: leave it out, or write for example '250ms'"
    )


def test_record() -> None:
    assert refused(record="decisions") == "'decisions' is no endpoint: write for example Kafka('decisions')"


def test_a_mistake_begins_with_the_users_line() -> None:
    pipeline = Pipeline("demo", concurrency=0)
    with pytest.raises(DeclarationError) as found:
        pipeline.build()
    line = test_a_mistake_begins_with_the_users_line.__code__.co_firstlineno + 1
    assert found.value.where == Where(__file__, line)
    assert str(found.value).startswith(f"{__file__}:{line}: concurrency is 0")


def test_a_pipeline_builds_again_and_again() -> None:
    pipeline: Any = Pipeline("demo", latency_budget="1m30s", order="none", concurrency=7, retry=Retries(attempts=9))
    payments(pipeline).act(decide, to=OUT)
    first, second = pipeline.build(), pipeline.build()
    assert first == second
    assert (first.latency_budget, first.order, first.concurrency, first.retry.attempts) == (90.0, "none", 7, 9)


# -- resources -----------------------------------------------------------------------------------------------------


class Client:
    """A client of something."""


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    yield Client()


def opened() -> AbstractAsyncContextManager[Client]:
    return client()


async def waited() -> Client:
    return Client()


async def yielded() -> AsyncIterator[Client]:
    yield Client()


@contextlib.contextmanager
def synchronous() -> Iterator[Client]:
    yield Client()


def with_arguments(address: str) -> AbstractAsyncContextManager[Client]:
    return client()


def blocking(payment: Payment, client: Client) -> Decision:
    return Decision(True)


def wrong(payment: Payment, client: float) -> Decision:
    return Decision(True)


@pytest.mark.parametrize("opener", [client, opened, lambda: client()])
def test_a_resource_is_given_by_name_wherever_it_is_declared(opener: Any) -> None:
    pipeline: Any = Pipeline("demo")
    payments(pipeline).act(blocking, to=OUT)
    pipeline.resource(client=opener)
    graph = pipeline.build()
    assert graph.resources == {"client": opener}
    assert graph.acts[0].function.takes == ("client",)


@pytest.mark.parametrize("opener", [client, opened])
def test_its_type_is_what_its_opener_is_annotated_to_yield(opener: Any) -> None:
    @mistake("wrong() wants client: float, but client is Client")
    def declared(p: Any) -> None:
        p.resource(client=opener)
        payments(p).act(wrong, to=OUT)  # <>

    declared()


@mistake("resource 'client' is 7: give a function that returns an async context manager")
def test_a_resource_is_opened_by_a_function(p: Any) -> None:
    p.resource(client=7)  # <>


@mistake("resource 'client' is declared twice, first at <first>")
def test_a_resource_is_declared_once(p: Any) -> None:
    p.resource(client=client)  # <first>
    p.resource(client=opened)  # <>


@mistake(
    "resource 'client' is a coroutine function: give one that returns an async context manager, "
    "for example with @contextlib.asynccontextmanager on a generator"
)
def test_a_resource_is_not_awaited(p: Any) -> None:
    p.resource(client=waited)  # <>


@mistake("resource 'client' is a generator function: make it async, with @contextlib.asynccontextmanager on it")
def test_a_resource_is_not_just_yielded(p: Any) -> None:
    p.resource(client=yielded)  # <>


@mistake("resource 'client' is a generator function: make it async, with @contextlib.asynccontextmanager on it")
def test_a_resource_is_opened_on_the_loop(p: Any) -> None:
    p.resource(client=synchronous)  # <>


@mistake("resource 'client' is called with nothing, and with_arguments() wants arguments: wrap it in a function")
def test_a_resource_is_opened_with_nothing(p: Any) -> None:
    p.resource(client=with_arguments)  # <>


@mistake("the name 'event' is taken by the event itself: choose another")
def test_event_is_no_resource(p: Any) -> None:
    p.resource(event=client)  # <>
