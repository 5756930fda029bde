"""Outages of the store: no dead letters, reading pauses, `problems` names it, and everything goes on by itself."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec
import pytest

from penstock import Pipeline, Reject, Retries, Unavailable
from penstock.connectors import Settings, Site
from penstock.connectors.store.command import pack
from penstock.connectors.store.connection import Connection
from penstock.connectors.store.redis import RedisStore
from penstock.connectors.store.reply import OUTAGES, ReplyError, failure
from penstock.pipeline.clock import ManualClock
from penstock.pipeline.engine.outages import Outages
from penstock.stages import lookup
from tests.pipeline.doubles import Memory, bench
from tests.servers import Redis

EVENTS = 300


class Step(msgspec.Struct, frozen=True):
    id: int
    key: str


def watched() -> Pipeline:
    """Every event asks the store, and one in ten is kept there as a dead letter."""
    made = Pipeline("outages", retry=Retries(attempts=1))

    def decide(step: Step, limit: int) -> int:
        if step.id % 10 == 0:
            raise Reject("no tens")
        return step.id

    stream = made.source(Memory("in"), schema=Step, key="key", id="id")
    stream.enrich(limit=lookup("limit:{key}", int, default=5)).act(decide, to=Memory("out"))
    return made


def stored(address: str) -> RedisStore:
    return RedisStore(Site(Settings({"PENSTOCK_STORE": address})))


def steps(start: int) -> list[bytes]:
    return [msgspec.json.encode(Step(number, f"k{number % 20}")) for number in range(start, start + EVENTS)]


@pytest.fixture
def own_redis() -> Iterator[Redis]:
    """A server of the test's own that has on disk what it has answered."""
    with Redis({"appendfsync": "always"}) as server:
        yield server


class Operator:
    """Somebody at the server, with a connection of their own."""

    def __init__(self, server: Redis) -> None:
        self.server = server
        self.connection = Connection(server.address, name="operator", patience=30.0)
        self.other = Connection(server.address, name="scripts", timeout=60.0)
        self.running: asyncio.Future[Any] | None = None

    async def __aenter__(self) -> Operator:
        await self.connection.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.connection.close()
        await self.other.close()

    async def tell(self, *commands: str) -> None:
        for command in commands:
            await self.connection.ask(pack(*command.split()), again=True)

    async def stop(self) -> None:
        await asyncio.to_thread(self.server.kill)

    async def start(self) -> None:
        await asyncio.to_thread(self.server.start)

    async def pause(self) -> None:
        self.server.pause()

    async def resume(self) -> None:
        self.server.resume()

    async def busy(self) -> None:
        await self.tell("CONFIG SET busy-reply-threshold 1")
        await self.other.open()
        self.running = self.other.ask(pack("EVAL", "while true do end", 0))

    async def idle(self) -> None:
        await self.tell("SCRIPT KILL")
        assert self.running is not None
        with pytest.raises(ReplyError):
            await self.running

    async def unsaved(self) -> None:
        (self.server.folder / "dump.rdb").mkdir()
        (self.server.folder / "dump.rdb" / "in the way").touch()
        await self.tell("CONFIG SET appendonly no", "BGSAVE")
        while b"rdb_last_bgsave_status:err" not in (await self.connection.ask(pack("INFO", "persistence")))[0]:
            await asyncio.sleep(0.02)
        await self.connection.ask(pack("CONFIG", "SET", "save", "3600 1"))

    async def saved(self) -> None:
        await asyncio.to_thread(shutil.rmtree, self.server.folder / "dump.rdb")
        await self.connection.ask(pack("CONFIG", "SET", "save", ""))

    async def locked(self) -> None:
        await self.tell("CONFIG SET requirepass sesame", "CLIENT KILL TYPE normal SKIPME yes")

    async def unlocked(self) -> None:
        await self.connection.ask(pack("CONFIG", "SET", "requirepass", ""))


def telling(*commands: str) -> Callable[[Operator], Awaitable[None]]:
    return lambda operator: operator.tell(*commands)


TROUBLES: dict[str, tuple[Callable[[Operator], Awaitable[None]], Callable[[Operator], Awaitable[None]], str]] = {
    "killed": (Operator.stop, Operator.start, "store"),
    "stopped": (Operator.pause, Operator.resume, "store"),
    "full": (telling("CONFIG SET maxmemory 1"), telling("CONFIG SET maxmemory 0"), "OOM"),
    "replica": (telling("REPLICAOF 127.0.0.1 1"), telling("REPLICAOF NO ONE"), "READONLY"),
    "stale": (
        telling("CONFIG SET replica-serve-stale-data no", "REPLICAOF 127.0.0.1 1"),
        telling("REPLICAOF NO ONE"),
        "MASTERDOWN",
    ),
    "alone": (
        telling("CONFIG SET min-replicas-to-write 1"),
        telling("CONFIG SET min-replicas-to-write 0"),
        "NOREPLICAS",
    ),
    "busy": (Operator.busy, Operator.idle, "BUSY"),
    "unsaved": (Operator.unsaved, Operator.saved, "MISCONF"),
    "locked": (Operator.locked, Operator.unlocked, "refuses the login"),
}


@pytest.mark.parametrize("name", TROUBLES)
async def test_an_outage_of_the_store_is_nobodys_fault(own_redis: Redis, name: str) -> None:
    breaks, mends, said = TROUBLES[name]
    store = stored(own_redis.address)
    store.connection._timeout = 1.0
    async with Operator(own_redis) as operator, bench(watched(), store=store) as b:
        b.topic("in").extend(steps(0))
        await b.until(lambda: b.confirmed("in") == EVENTS)
        await breaks(operator)
        b.topic("in").extend(steps(EVENTS))
        await b.until(lambda: "store" in b.engine.outages.down and said in " ".join(b.engine.problems()))
        taken = b.engine.lanes[0].received
        b.topic("in").extend(steps(2 * EVENTS))
        await asyncio.sleep(0.3)
        assert b.engine.lanes[0].received <= taken + EVENTS
        assert "store" in b.engine.outages.down
        await mends(operator)
        await b.until(lambda: b.confirmed("in") == 3 * EVENTS)
        assert b.engine.problems() == []
        letters = [letter for _, letter in await b.engine.letters.read(count=1000)]
    assert {letter.reason for letter in letters} == {"no tens"}
    assert len(letters) == 3 * EVENTS // 10
    assert len(b.topic("out")) == 3 * EVENTS - 3 * EVENTS // 10


async def test_a_key_of_another_kind_is_the_events_own(own_redis: Redis) -> None:
    store = stored(own_redis.address)
    async with bench(watched(), store=store) as b:
        await store.connection.ask(pack("SADD", "limit:k3", "a"))
        b.topic("in").extend(steps(1)[:9])
        await b.until(lambda: b.confirmed("in") == 9)
        ((_, letter),) = await b.engine.letters.read()
        assert (letter.stage, letter.key) == ("enrich(limit)", "k3")
        assert b.engine.problems() == []


@pytest.mark.parametrize(
    "code", ["LOADING", "MASTERDOWN", "READONLY", "CLUSTERDOWN", "OOM", "MISCONF", "BUSY", "NOAUTH"]
)
def test_what_a_server_says_of_itself_is_an_outage(code: str) -> None:
    assert code in OUTAGES
    assert isinstance(failure("store", f"{code} and why"), Unavailable)


@pytest.mark.parametrize("code", ["WRONGTYPE", "ERR", "NOPERM", "NOSCRIPT"])
def test_what_it_says_of_a_command_is_not(code: str) -> None:
    assert isinstance(failure("store", f"{code} and why"), ReplyError)


async def test_an_outage_that_defaults_hide_is_told_of(own_redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    store = stored(own_redis.address)
    await store.open()
    await asyncio.to_thread(own_redis.kill)
    async with asyncio.timeout(60.0):
        while "the connection is lost" not in caplog.text:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(own_redis.start)
        while "answers again" not in caplog.text:
            await asyncio.sleep(0.01)
    await store.close()
    assert [record.levelno for record in caplog.records if record.name == "penstock.redis"] == [logging.WARNING] * 2


async def test_a_model_that_cannot_be_reached_is_waited_for() -> None:
    tries: list[str] = []

    async def load(ref: str) -> Any:
        tries.append(ref)
        if len(tries) < 3:
            raise Unavailable("models", "the registry does not answer")
        raise asyncio.CancelledError

    made = Pipeline("models")
    made.source(Memory("in"), schema=Step).infer("m@champion", lambda step: [1.0]).end()
    b = bench(made, models=load)
    starting = asyncio.ensure_future(b.engine.start())
    async with asyncio.timeout(60.0):
        while len(tries) < 2:
            await asyncio.sleep(0.01)
        assert b.engine.problems() == ["waiting for model m@champion: models: the registry does not answer"]
        with pytest.raises(asyncio.CancelledError):
            await starting


async def test_a_users_own_client_of_our_server_is_the_users() -> None:
    made = Pipeline("own", retry=Retries(attempts=3, first="1ms", longest="1ms"))
    tries: list[int] = []

    def ask(step: Step) -> int:
        from redis.exceptions import ConnectionError as Refused

        tries.append(step.id)
        raise Refused("Error 111 connecting to localhost:6379. Connection refused.")

    made.source(Memory("in"), schema=Step, key="key", id="id").transform(ask).end()
    async with bench(made) as b:
        b.topic("in").extend(steps(0)[:1])
        await b.until(lambda: b.confirmed("in") == 1)
        assert (tries, b.engine.letters.written) == ([0, 0, 0], 1)


def test_what_waits_for_an_outage_is_woken_by_one_probe() -> None:
    clock, ran = ManualClock(), []
    outages = Outages(clock, lambda: None)
    error = Unavailable("store", "gone")
    for number in range(3):
        outages.hold("store", error, lambda number=number: ran.append(number))  # type: ignore[misc]
    clock.advance(0.1)
    assert ran == [0]
    outages.clear("store")
    assert ran == [0, 1, 2]
