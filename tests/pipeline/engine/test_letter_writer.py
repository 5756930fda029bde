"""Events that are given up: what their letters say, and that each is kept."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock import (
    Pipeline,
    Reject,
    Retries,
    Unavailable,
)
from penstock.connectors.store.memory import MemoryStore
from penstock.pipeline.testing.harness import harness
from tests.pipeline.doubles import Memory, bench
from tests.pipeline.steps import Step, encoded, pipeline


async def test_an_exhausted_event_is_a_dead_letter_with_everything_in_it(form: str) -> None:
    made, stream = pipeline(form, retry=Retries(attempts=2, first="1s", longest="1s"))

    def failing(step: Step) -> None:
        raise ZeroDivisionError("never works")

    stream.act(failing, to=Memory("out"))
    async with harness(made) as h:
        await h.send(Step(7, "k"))
        await h.advance("1m")
        (letter,) = h.dead
        assert (letter.stage, letter.error, letter.attempts, letter.event) == ("failing", "ZeroDivisionError", 2, "7")
        assert letter.reason == "ZeroDivisionError: never works"
        assert msgspec.json.decode(letter.payload, type=Step) == Step(7, "k")
        assert letter.where.startswith(f"{__file__}:")
        assert (await h.send(Step(8, "other"))).dead is None


def rejecting(form: str, reason: str) -> Pipeline:
    """A pipeline that rejects every event for this reason."""
    made, stream = pipeline(form)

    def reject(step: Step) -> None:
        raise Reject(reason)

    stream.act(reject, to=Memory("out"))
    return made


async def test_a_rejected_event_is_a_dead_letter_at_once(form: str) -> None:
    made = rejecting(form, "no such card")
    async with harness(made) as h:
        outcome = await h.send(Step(1, "k"))
        assert outcome.finished and outcome.dead is not None
        assert (outcome.dead.reason, outcome.dead.attempts) == ("no such card", 1)


async def test_a_reason_that_no_encoding_has_is_kept_as_well_as_can_be(form: str) -> None:
    made = rejecting(form, "no file \udcff")
    async with harness(made) as h:
        outcome = await h.send(Step(1, "k"))
        assert outcome.dead is not None and outcome.dead.reason == "no file ?"


async def test_two_bad_events_that_claim_one_id_are_two_letters(form: str) -> None:
    made = rejecting(form, "no")
    async with harness(made) as h:
        for fate in ("x", "y", "x"):
            await h.send(Step(1, "k", fate))
        kept = [letter for _, letter in await h.engine.letters.read()]
        assert sorted(msgspec.json.decode(letter.payload)["fate"] for letter in kept) == ["x", "y"]


class BrokenStore(MemoryStore):
    """A store whose log cannot be written for a while."""

    broken = True

    async def append(self, stream: str, entry: Any, *, id: str = "") -> str:
        if self.broken:
            raise Unavailable("store", "gone")
        return await super().append(stream, entry, id=id)


async def test_once_a_dead_letter_is_written_everything_goes_on(form: str) -> None:
    """Nothing else has asked the store, so it is the letter that finds out."""
    made, stream = pipeline(form)
    stream.act(lambda step: step.id, to=Memory("out"), stage="pass")
    store = BrokenStore()
    async with bench(made, store=store) as b:
        b.topic("in").extend([b"{bad"])
        await b.until(lambda: "store" in b.engine.outages.down)
        store.broken = False
        await b.until(lambda: not b.engine.outages.down)
        b.topic("in").extend(encoded(Step(1, "k")))
        await b.until(lambda: b.confirmed("in") == 2)


async def test_a_dead_letter_waits_for_the_store(form: str) -> None:
    made, stream = pipeline(form)
    stream.act(lambda step: step.id, to=Memory("out"), stage="pass")
    store = BrokenStore()
    async with bench(made, store=store) as b:
        b.topic("in").extend([b"{bad", *encoded(Step(1, "k"))])
        await b.until(lambda: "store" in b.engine.outages.down)
        assert b.confirmed("in") == 0
        store.broken = False
        await b.until(lambda: b.confirmed("in") == 2)
        assert b.engine.letters.written == 1


async def test_an_http_sender_gets_its_reply_or_the_reason() -> None:
    from penstock.connectors import Http, Reply

    made = Pipeline("web", retry=Retries(attempts=1))

    def decide(step: Step) -> dict[str, int]:
        if step.fate == "reject":
            raise Reject("no")
        if step.fate == "fail":
            raise RuntimeError("down")
        return {"id": step.id}

    made.source(Http("/steps"), schema=Step, key="key").act(decide, to=[Reply(), Memory("out")])
    async with harness(made) as h:
        good = await h.send(Step(1, "k"))
        assert (good.reply, good.actions, good.refused) == ({"id": 1}, [{"id": 1}], None)
        bad = await h.send(b'{"id": "x", "key": "k"}')
        assert bad.refused is not None
        assert (bad.refused.status, bad.refused.path, bad.dead) == (422, "$.id", None)
        rejected = await h.send(Step(2, "k", "reject"))
        assert rejected.refused is not None and rejected.dead is not None
        assert (rejected.refused.status, rejected.refused.letter) == (422, rejected.dead.id)
        failed = await h.send(Step(3, "k", "fail"))
        assert failed.refused is not None
        assert (failed.refused.status, failed.dead) == (503, None)
