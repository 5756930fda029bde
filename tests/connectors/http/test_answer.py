"""What a sender is answered, and when."""

from __future__ import annotations

import asyncio
import json

import pytest

from penstock.connectors import Message, Refusal
from penstock.connectors.http.endpoint import Http
from tests.connectors.http.rig import BATCH, CORE, JSON, LINES, HttpSourceRig, echoing, opened
from tests.connectors.rig import take


class TestAnswers:
    async def test_nothing_acted_is_accepted(self, rig: HttpSourceRig) -> None:
        async with opened(rig) as source:
            sender = await rig.begin(b"1", JSON)
            [taken] = await take(source, 1)
            assert taken.batch.waited
            assert not sender.done(), "no answer before it is finished"
            taken.settle()
            answer = await sender
            assert (answer.status, answer.body) == (202, b"")

    @pytest.mark.parametrize(
        ("values", "body"),
        [([b'{"n":1}'], b'{"n":1}'), ([b"1", b"2"], b"[1,2]"), ([None], b"null"), ([None, b"2"], b"[null,2]")],
    )
    async def test_replies_are_the_body(self, rig: HttpSourceRig, values: list[bytes | None], body: bytes) -> None:
        async with opened(rig) as source:
            sender = await rig.begin(b"1", JSON)
            [taken] = await take(source, 1)
            taken.batch.answer(
                0, [Message("reply", value, headers={"Trace-Id": "x", "Content-Length": "9"}) for value in values]
            )
            taken.settle()
            answer = await sender
            assert (answer.status, answer.body, answer.headers["content-type"]) == (200, body, "application/json")
            assert answer.headers.get("trace-id") == ("x" if len(values) == 1 else None)

    async def test_a_refusal_says_why(self, rig: HttpSourceRig) -> None:
        async with opened(rig) as source:
            for refusal, said, after in (
                (Refusal(422, "no", "$.amount", "l-1"), {"error": "no", "path": "$.amount", "letter": "l-1"}, None),
                (Refusal(400, "bad"), {"error": "bad"}, None),
                (Refusal(503, "later", retry_after=2.5), {"error": "later"}, "3"),
                (Refusal(503, "later"), {"error": "later"}, "1"),
            ):
                sender = await rig.begin(b"1", JSON)
                [taken] = await take(source, 1)
                taken.batch.answer(0, refusal)
                taken.settle()
                answer = await sender
                assert (answer.status, json.loads(answer.body)) == (refusal.status, said)
                assert answer.headers["content-type"] == "application/json"
                assert answer.headers.get("retry-after") == after

    async def test_lines_are_answered_one_by_one(self, rig: HttpSourceRig) -> None:
        async with opened(rig) as source:
            sender = await rig.begin(b'1\r\n\n2\n  \n3\n{"n": 4}', LINES)
            taken = await take(source, 4)
            assert len({id(record.batch) for record in taken}) == 1, "one batch a request"
            batch = taken[0].batch
            batch.answer(0, [Message("reply", b"10")])
            batch.answer(1, Refusal(422, "no", "$.n", "l-1", retry_after=1.0))
            batch.answer(3, [Message("reply", b"1"), Message("reply", b"2")])
            for record in taken:
                record.settle()
            answer = await sender
            assert answer.status == 200 and answer.headers["content-type"] == "application/x-ndjson"
            assert [json.loads(line) for line in answer.body.splitlines()] == [
                {"status": 200, "value": 10},
                {"status": 422, "error": "no", "path": "$.n", "letter": "l-1", "retry_after": 1.0},
                {"status": 202},
                {"status": 200, "value": [1, 2]},
            ]
            sender = await rig.begin(b"1\n2\n", LINES)
            for record in await take(source, 2):
                record.settle()
            assert (await sender).body == b'{"status":202}\n{"status":202}\n'
            assert (await rig.post(b"\n", LINES)).body == b""

    async def test_a_batch_of_cloudevents(self, rig: HttpSourceRig) -> None:
        async with echoing(rig) as seen:
            body = json.dumps([{**CORE, "data": 1}, {**CORE, "id": ""}, {**CORE, "id": "9", "data": 3}]).encode()
            answer = await rig.post(body, BATCH)
            first, second, third = [json.loads(line) for line in answer.body.splitlines()]
            assert (first, third) == ({"status": 200, "value": 1}, {"status": 200, "value": 3})
            assert (second["status"], second["path"]) == (400, "id")
            assert [seen[0].event(index).id for index in (0, 2)] == ["7", "9"]
            assert json.loads(seen[0].event(1).data) == {**CORE, "id": ""}

    async def test_time_out_and_repeats(self) -> None:
        rig = HttpSourceRig(timeout="400ms")
        key = {**JSON, "Idempotency-Key": "k-1"}
        async with opened(rig) as source:
            sender = await rig.begin(b"1", key)
            [taken] = await take(source, 1)
            assert taken.event.id == "k-1"
            late = await sender
            assert (late.status, late.headers["retry-after"], b"it goes on" in late.body) == (503, "1", True)
            assert (await rig.post(b"1", key)).status == 503, "it joins the one that runs"
            other = await rig.post(b"2", key)
            assert (other.status, b"another body" in other.body) == (422, True)
            taken.batch.answer(0, [Message("reply", b"10")])
            taken.settle()
            assert (await rig.post(b"1", key)).body == b"10", "what nobody had heard is said again"
            sender = await rig.begin(b"1\n2", LINES)
            first, second = await take(source, 2)
            first.settle()
            lines = await sender
            assert lines.status == 503
            assert [json.loads(line)["status"] for line in lines.body.splitlines()] == [202, 503]
            second.settle()
        await rig.close()

    async def test_what_was_not_begun_in_time_is_withdrawn(self) -> None:
        rig = HttpSourceRig(timeout="300ms")
        async with opened(rig) as source:
            for headers in (JSON, LINES, {**JSON, "Idempotency-Key": "k-1"}):
                late = await rig.post(b"1", headers)
                assert (late.status, b"not begun" in late.body) == (503, True)
            sender = await rig.begin(b"2", JSON)
            [taken] = await take(source, 1)
            assert taken.value == b"2", "nothing runs that its sender will send again"
            taken.settle()
            assert (await sender).status == 202
        await rig.close()

    async def test_requests_of_one_moment_are_one_batch(self, rig: HttpSourceRig) -> None:
        async with opened(rig, Http("/{n}")) as source:
            senders = [await rig.begin(b"%d" % n, JSON, f"/{n}") for n in range(5)]
            taken = await take(source, 5)
            assert len({id(record.batch) for record in taken}) == 1
            assert [record.event.topic for record in taken] == [f"/{n}" for n in range(5)]
            assert taken[0].batch.captures == [{"n": str(n)} for n in range(5)]
            assert len({record.event.id for record in taken}) == 5
            taken[3].batch.answer(3, [Message("reply", b"30")])
            for number in (3, 0, 4, 2, 1):
                taken[number].settle()
                assert (await senders[number]).body == (b"30" if number == 3 else b""), "each as soon as it is finished"

    async def test_repeats_share_one_answer(self, rig: HttpSourceRig) -> None:
        async with opened(rig) as source:
            key = {**JSON, "Idempotency-Key": "k-1"}
            senders = [await rig.begin(b"1", key) for _ in range(3)]
            [taken] = await take(source, 1)
            taken.batch.answer(0, [Message("reply", b"10")])
            taken.settle()
            assert [(await sender).body for sender in senders] == [b"10"] * 3
            event = {**JSON, **{f"ce-{name}": value for name, value in CORE.items()}}
            senders = [await rig.begin(b"1", event) for _ in range(2)]
            [taken] = await take(source, 1)
            taken.settle()
            assert [(await sender).status for sender in senders] == [202, 202]

    async def test_what_may_succeed_later_runs_again(self) -> None:
        rig = HttpSourceRig(timeout="300ms")
        key = {**JSON, "Idempotency-Key": "k-1"}
        async with opened(rig) as source:
            sender = await rig.begin(b"1", key)
            [taken] = await take(source, 1)
            assert (await sender).status == 503
            taken.batch.answer(0, Refusal(503, "the store is away"))
            taken.settle()
            await rig.begin(b"1", key)
            [again] = await take(source, 1)
            assert again.batch is not taken.batch
        await rig.close()

    async def test_a_sender_that_leaves_changes_nothing(self, rig: HttpSourceRig) -> None:
        async with opened(rig) as source:
            sender = await rig.begin(b"1", JSON)
            [taken] = await take(source, 1)
            sender.cancel()
            await asyncio.wait([sender])
            await rig.begin(b"2", JSON)
            [other] = await take(source, 1)
            for record in (taken, other):
                record.settle()

    async def test_stopping(self, rig: HttpSourceRig) -> None:
        async with opened(rig) as source:
            running = await rig.begin(b"1", JSON)
            [taken] = await take(source, 1)
            waiting = await rig.begin(b"2", JSON)
            source.stop()
            assert ((await waiting).status, (await rig.post(b"3", JSON)).status) == (503, 503)
            taken.settle()
            assert (await running).status == 202, "what runs may finish"
            unfinished = HttpSourceRig()
        async with opened(unfinished) as source:
            sender = await unfinished.begin(b"1", JSON)
            await take(source, 1)
        assert (await sender).status == 503
        await unfinished.close()
