"""The written functions: what they look like, and how a failure is read back out of them."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from penstock import Pipeline, call
from penstock.pipeline.code import form_of
from penstock.pipeline.code.program import text_of
from penstock.pipeline.testing.harness import harness
from tests.pipeline.doubles import Asking, Memory


def up(text: str) -> str:
    return text.upper()


async def slowly(text: str) -> str:
    return text


def loud(text: str) -> bool:
    return text.isupper()


def letters(text: str) -> Iterator[str]:
    yield from text


def written(pipeline: Pipeline) -> str:
    graph = pipeline.build()
    return text_of(graph, graph.sources[0])


def test_a_synchronous_chain_is_one_loop() -> None:
    made = Pipeline("p")
    made.source(Memory("in"), schema=str).transform(up).filter(loud).end()
    text = written(made)
    assert text.startswith("def run(batch, start, stop):")
    assert "await" not in text
    assert "v1 = f1(v0)" in text


def test_the_engines_own_suspensions_make_waves() -> None:
    made = Pipeline("p")
    made.source(Memory("in"), schema=str).enrich(a=Asking(len), b=Asking(len)).transform(up).end()
    text = written(made)
    assert text.startswith("async def run(rows):")
    assert "answers = await gather(ask_many1_a(" in text


def test_a_users_coroutine_makes_slots() -> None:
    made = Pipeline("p")
    made.source(Memory("in"), schema=str).enrich(a=Asking(len)).transform(slowly).end()
    text = written(made)
    assert text.startswith("async def run(ready, refill, arrive):")
    assert "v1 = await f2(v0)" in text


@pytest.mark.parametrize(
    ("function", "form"),
    [
        (up, "loop"),
        (slowly, "slot"),
        (letters, "loop"),
        (call(up, thread=True), "slot"),
        (call(up, cache="1m"), "slot"),
        (call(up), "loop"),
    ],
)
def test_options_decide_the_form(function: Any, form: str) -> None:
    made = Pipeline("p")
    made.source(Memory("in"), schema=str).transform(function).end()
    graph = made.build()
    assert form_of(graph, graph.sources[0]) == form


async def test_a_traceback_shows_the_written_line() -> None:
    shown: list[str] = []

    def fails(text: str) -> str:
        shown.append("".join(traceback.format_stack()))
        return text

    made = Pipeline("shown")
    made.source(Memory("in"), schema=str).transform(fails).end()
    async with harness(made) as h:
        await h.send("x")
    assert 'File "<penstock shown in timed>"' in shown[0]
    assert "v1 = f1(v0)" in shown[0]
    assert linecache.getline("<penstock shown in loop>", 1) == "def run(batch, start, stop):\n"


@pytest.mark.parametrize("first", [up, slowly])
async def test_the_failing_stage_is_found_whatever_the_depth(first: Any) -> None:
    made = Pipeline("deep")

    def inner(text: str) -> str:
        raise LookupError(text)

    def outer(text: str) -> str:
        return inner(text)

    made.source(Memory("in"), schema=str).transform(first).transform(letters).transform(outer).end()
    from penstock import Retries

    made.retry = Retries(attempts=1)
    async with harness(made) as h:
        await h.send("ab")
        assert sorted((letter.stage, letter.id.rsplit("/", 1)[1].split("~")[0]) for letter in h.dead) == [
            ("outer", "outer.0"),
            ("outer", "outer.1"),
        ]
        assert all(letter.where.startswith(f"{__file__}:") for letter in h.dead)
