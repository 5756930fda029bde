"""A store that comes back without the last of what it had answered: every event is counted once all the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.application.process import Process, until
from tests.chaos.counters import right
from tests.chaos.trial import Trial
from tests.servers import Redis
from tests.servers.port import HOST
from tests.servers.proxy import Proxy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]

ENOUGH = 200
"""Events in which there are commits that the store forgets of."""


class Forgetful:
    """A store with a proxy before it, which forgets what it answers from `begin` to `forget`."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.server = stack.enter_context(Redis())
        self.proxy = stack.enter_context(Proxy(self.server.port))
        self.address = f"redis://{HOST}:{self.proxy.port}/0"

    def begin(self) -> None:
        raise NotImplementedError

    def forget(self) -> None:
        raise NotImplementedError


class Crashing(Forgetful):
    """Killed before the last was on disk (`appendfsync everysec`): the file ends in the middle of a command."""

    def begin(self) -> None:
        self.size = self.log.stat().st_size

    def forget(self) -> None:
        self.server.kill()
        assert self.log.stat().st_size > self.size + 100
        os.truncate(self.log, self.size + 7)
        self.server.start()

    @property
    def log(self) -> Path:
        [found] = (self.server.folder / "appendonlydir").glob("*.incr.aof")
        return found


class Replaced(Forgetful):
    """Replaced by a replica that was behind."""

    def __init__(self, stack: ExitStack) -> None:
        super().__init__(stack)
        self.between = stack.enter_context(Proxy(self.server.port))
        self.replica = stack.enter_context(Redis({"replicaof": f"{HOST} {self.between.port}"}))
        until(lambda: self.link() == "up", "the replica is one")

    def begin(self) -> None:
        self.between.hold()

    def forget(self) -> None:
        with redis.Redis.from_url(self.replica.address) as client:
            client.replicaof("NO", "ONE")
        self.server.kill()
        self.proxy.to = self.replica.port
        self.proxy.cut()

    def link(self) -> str:
        with redis.Redis.from_url(self.replica.address) as client:
            found: Any = client.info("replication")
            return str(found.get("master_link_status"))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


@pytest.mark.parametrize(("client", "kind"), [("confluent", Crashing), ("kafka-python", Replaced)])
def test_what_the_store_forgets_is_counted_again(
    client: str,
    kind: Callable[[ExitStack], Forgetful],
    program: Process,
    topics: str,
    seed: int,
    stack: ExitStack,
) -> None:
    store = kind(stack)
    program.variables |= {
        "PENSTOCK_KAFKA_CLIENT": client,
        "PENSTOCK_STORE": store.address,
        "TALLY_DOORS": "kafka",
    }
    kafka, mqtt = program.variables["PENSTOCK_KAFKA"], program.variables["PENSTOCK_MQTT"]
    trial = Trial(program, topics, seed, kafka=kafka, mqtt=mqtt, redis=store.address, doors=("kafka",))
    with trial as tried:
        tried.come_further(ENOUGH)
        store.begin()
        tried.come_further(ENOUGH)
        # All of these are acted on, and most of them confirmed at their source.
        until(lambda: not tried.ledger.missing(tried.sent[: 2 * ENOUGH]), lambda: str(tried.missing()))
        store.forget()
        tried.come_further(ENOUGH)
        assert tried.finish(forgot=True) > 0, "nothing was counted again: what the store forgot was not seen"
        assert "the sources go back to where it was last told they were" in program.log.read_text()
        right(store.address, f"{program.variables['PENSTOCK_NAMESPACE']}.tally", tried.sent)
