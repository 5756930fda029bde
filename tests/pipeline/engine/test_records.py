"""Records that are no events of the declared kind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from penstock import (
    Pipeline,
    Stream,
)
from penstock.pipeline.testing.harness import harness
from tests.pipeline.doubles import Asking, Memory
from tests.pipeline.steps import Step, pipeline


async def slowly(payload: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(0)
    return payload


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b'{"id": 1, "key": "k", "x": ' + b"[" * 100_000, "not valid JSON"),
        (b'{"id": "x", "key": "k"}', "Expected `int`, got `str` at $.id"),
        (b'{"id": 1}', "Object missing required field `key`"),
        (b'{"id": 1, "key": null}', "Expected `str`, got `null` at $.key"),
        (b'{"id": NaN, "key": "k"}', "not valid JSON"),
        (None, "no value"),
    ],
)
async def test_bytes_that_are_no_payload_are_dead_letters(form: str, raw: bytes | None, reason: str) -> None:
    made, stream = pipeline(form)
    stream.act(lambda step: step.id, to=Memory("out"), stage="pass")
    async with harness(made) as h:
        outcome = await h.send(raw)
        assert outcome.dead is not None and reason in outcome.dead.reason
        assert outcome.dead.payload == (raw or b"")
        assert (await h.send(Step(1, "k"))).actions == [1]


async def test_a_payload_without_its_key_is_a_dead_letter(form: str) -> None:
    made = Pipeline("keyless")
    stream: Stream[dict[str, Any]] = made.source(Memory("in"), schema=dict[str, Any], key="card")
    if form == "wave":
        stream = stream.enrich(asked=Asking(len))
    elif form == "slot":
        stream = stream.transform(slowly)
    stream.act(lambda payload: payload, to=Memory("out"), stage="pass")
    async with harness(made) as h:
        await h.send({"card": "busy"})
        for payload in ({"amount": 1}, {"card": None}):
            outcome = await h.send(payload)
            assert outcome.finished
        assert [letter.reason for letter in h.dead] == ["the key field card is missing", "the key field card is null"]
