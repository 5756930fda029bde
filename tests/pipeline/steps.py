"""Events for tests of the engine, and a pipeline of them in each of the forms that pipelines run in."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from penstock import Pipeline, Stream
from tests.pipeline.doubles import Asking, Memory

FORMS = ("loop", "wave", "slot")


class Step(msgspec.Struct, frozen=True):
    id: int
    key: str
    fate: str = ""


def same(step: Step) -> Step:
    return step


async def later(step: Step) -> Step:
    await asyncio.sleep(0)
    return step


def pipeline(form: str, **options: Any) -> tuple[Pipeline, Stream[Step]]:
    """A pipeline of steps, and its stream after a stage that makes it compile to the form."""
    made = Pipeline("steps", **options)
    stream = made.source(Memory("in"), schema=Step, key="key", id="id")
    if form == "wave":
        return made, stream.enrich(asked=Asking(lambda step: step.id)).transform(same)
    return made, stream.transform(later) if form == "slot" else stream.transform(same)


def encoded(*steps: Step) -> list[bytes]:
    return [msgspec.json.encode(step) for step in steps]
