"""Requests that come again under one id: at the process that has them, at another one, and after its death."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import pytest

from penstock.connectors import Message, Refusal, Settings, Site, Source, Store
from penstock.connectors.http.source import HttpSource
from penstock.connectors.store.memory import MemoryStore
from penstock.connectors.store.redis import RedisStore
from penstock.errors import Unavailable
from tests.connectors.http.rig import JSON, LINES, HttpSourceRig
from tests.connectors.rig import Taken, take, until


class Workers:
    """Several processes' sources of one path, each at a port of its own, on one store."""

    def __init__(self, exits: AsyncExitStack, redis_address: str) -> None:
        self.exits = exits
        self.address = redis_address
        self.pipeline = f"repeats-{uuid4().hex}"

    async def start(self, store: Store | None = None, **options: Any) -> tuple[HttpSourceRig, HttpSource]:
        """One more worker."""
        rig = HttpSourceRig(**options)
        self.exits.push_async_callback(rig.close)
        site = Site(Settings(rig.settings), pipeline=self.pipeline)
        rig._site = site
        if store is None:
            store = RedisStore(Site(Settings({"PENSTOCK_STORE": self.address})))
            await store.open()
            self.exits.push_async_callback(store.close)
        site.store = store
        source: Source = rig.endpoint.source(site)
        assert isinstance(source, HttpSource)
        await source.open()
        self.exits.push_async_callback(site.close)
        self.exits.push_async_callback(source.close)
        return rig, source


@pytest.fixture
async def workers(redis_address: str) -> AsyncIterator[Workers]:
    async with AsyncExitStack() as exits:
        yield Workers(exits, redis_address)


def key(name: str = "k-1") -> dict[str, str]:
    return {**JSON, "Idempotency-Key": name}


async def taken_by(source: Source) -> Taken:
    [taken] = await take(source, 1)
    return taken


class TestOneProcess:
    async def test_a_key_of_the_store_that_cannot_be_read_is_not_waited_for(
        self, workers: Workers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each request that comes under its id is told at once; none joins one that never ends."""
        rig, source = await workers.start(MemoryStore())
        settle = MemoryStore.settle

        async def garbled(self: MemoryStore, name: str, value: bytes, ttl: float) -> bytes | None:
            return b"somebody else's"

        monkeypatch.setattr(MemoryStore, "settle", garbled)
        assert [(await rig.post(b"1", key())).status for _ in range(2)] == [500, 500]
        monkeypatch.setattr(MemoryStore, "settle", settle)
        sender = await rig.begin(b"1", key())
        (await taken_by(source)).settle()
        assert (await sender).status == 202

    async def test_an_answer_is_kept(self, workers: Workers) -> None:
        rig, source = await workers.start()
        sender = await rig.begin(b"1", key())
        taken = await taken_by(source)
        taken.batch.answer(0, [Message("reply", b"10", headers={"Trace": "x"})])
        taken.settle()
        first, again = await sender, await rig.post(b"1", key())
        assert (first.status, first.body, first.headers["trace"]) == (200, b"10", "x")
        assert (again.status, again.body, again.headers["trace"]) == (200, b"10", "x")
        for other in (await rig.post(b"2", key()), await rig.post(b"1", {**LINES, "Idempotency-Key": "k-1"})):
            assert (other.status, b"another body" in other.body) == (422, True)
        assert source.turned_away == {422: 2}

    async def test_a_refusal_is_kept_too(self, workers: Workers) -> None:
        rig, source = await workers.start()
        sender = await rig.begin(b"1", key())
        taken = await taken_by(source)
        taken.batch.answer(0, Refusal(422, "no", letter="l-1"))
        taken.settle()
        said = {"error": "no", "letter": "l-1"}
        for answer in (await sender, await rig.post(b"1", key())):
            assert (answer.status, json.loads(answer.body)) == (422, said)
        assert source.refused == {422: 1}

    async def test_lines_are_answered_again(self, workers: Workers) -> None:
        rig, source = await workers.start()
        headers = {**LINES, "Idempotency-Key": "k-2"}
        sender = await rig.begin(b"1\n2", headers)
        first, second = await take(source, 2)
        assert [first.event.id, second.event.id] == ["k-2-00000", "k-2-00001"]
        first.batch.answer(1, Refusal(422, "no", letter="l-2"))
        for record in (first, second):
            record.settle()
        for answer in (await sender, await rig.post(b"1\n2", headers)):
            lines = [json.loads(line) for line in answer.body.splitlines()]
            assert lines == [{"status": 202}, {"status": 422, "error": "no", "letter": "l-2"}]

    async def test_what_may_succeed_later_is_not_kept(self, workers: Workers) -> None:
        rig, source = await workers.start()
        for status in (503, 429, 200):
            sender = await rig.begin(b"1", key())
            taken = await taken_by(source)
            if status != 200:
                taken.batch.answer(0, Refusal(status, "later"))
            taken.settle()
            assert (await sender).status == (202 if status == 200 else status)
        assert (await rig.post(b"1", key())).status == 202

    async def test_the_declared_time_bounds_it(self, workers: Workers) -> None:
        rig, source = await workers.start(hold="30ms")
        for _ in range(2):
            sender = await rig.begin(b"1", key())
            taken = await taken_by(source)
            taken.settle()
            assert (await sender).status == 202
            await asyncio.sleep(0.06)

    async def test_the_oldest_make_room(self, workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("penstock.connectors.http.repeats.KEPT", 2)
        rig, source = await workers.start(MemoryStore())
        for number in range(5):
            sender = await rig.begin(b"1", key(f"k-{number}"))
            taken = await taken_by(source)
            taken.settle()
            await sender
        assert len(source._repeats._kept) == 2
        assert (await rig.post(b"1", key("k-0"))).status == 202, "the store has it still"


class TestSeveralProcesses:
    async def test_another_one_gives_the_same_answer(self, workers: Workers) -> None:
        (one, source), (other, elsewhere) = await workers.start(), await workers.start()
        sender = await one.begin(b"1", key())
        taken = await taken_by(source)
        joined = [await other.begin(b"1", key()) for _ in range(2)]
        taken.batch.answer(0, [Message("reply", b"10")])
        taken.settle()
        assert [(await each).body for each in (sender, *joined)] == [b"10"] * 3, "also while it runs elsewhere"
        assert (await other.post(b"1", key())).body == b"10"
        assert (await other.post(b"2", key())).status == 422
        assert not elsewhere._ready and elsewhere.turned_away == {422: 1}

    async def test_another_body_is_refused_by_the_other(self, workers: Workers) -> None:
        (one, source), (other, _) = await workers.start(), await workers.start()
        await one.begin(b"1", key())
        taken = await taken_by(source)
        assert (await other.post(b"2", key())).status == 422, "while the first one runs"
        taken.settle()

    async def test_what_runs_elsewhere_for_long(self, workers: Workers) -> None:
        (one, source), (other, _) = await workers.start(), await workers.start(timeout="60ms")
        await one.begin(b"1", key())
        taken = await taken_by(source)
        answer = await other.post(b"1", key())
        assert (answer.status, b"another process" in answer.body, answer.headers["retry-after"]) == (503, True, "1")
        taken.settle()

    async def test_a_restart_remembers(self, workers: Workers) -> None:
        rig, source = await workers.start()
        sender = await rig.begin(b"1", key())
        taken = await taken_by(source)
        taken.batch.answer(0, [Message("reply", b"10")])
        taken.settle()
        await sender
        await source.close()
        again, _ = await workers.start()
        assert (await again.post(b"1", key())).body == b"10"

    async def test_what_did_not_end_is_given_back_by_who_leaves(self, workers: Workers) -> None:
        rig, source = await workers.start()
        sender = await rig.begin(b"1", key())
        await taken_by(source)
        await source.close()
        assert (await sender).status == 503
        again, other = await workers.start()
        sender = await again.begin(b"1", key())
        taken = await taken_by(other)
        taken.settle()
        assert (await sender).status == 202

    @pytest.mark.slow
    async def test_who_died_loses_it_in_time(self, workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("penstock.connectors.http.repeats.LEASE", 2.0)
        rig, source = await workers.start()
        await rig.begin(b"1", key())
        await taken_by(source)
        other, alive = await workers.start()
        sender = await other.begin(b"1", key())
        await asyncio.sleep(2.5)
        assert not alive._ready, "it lives and says so"
        assert source._repeats._timer is not None
        source._repeats._timer.cancel()  # from here on it is as dead
        taken = await taken_by(alive)
        taken.settle()
        assert (await sender).status == 202

    async def test_a_store_that_is_away(self, workers: Workers) -> None:
        class Away(MemoryStore):
            async def settle(self, key: str, value: bytes, ttl: float) -> bytes | None:
                raise Unavailable("store", "connection refused")

        rig, source = await workers.start(Away())
        answer = await rig.post(b"1", key())
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert b"connection refused" in answer.body and not source._ready
        await rig.begin(b"1", JSON)
        await until(lambda: bool(source._ready))
