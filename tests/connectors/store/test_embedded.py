"""The embedded server keeps its data, ends with its owner, and is shared by those who name its folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from penstock.connectors import Settings, Site, Store
from penstock.connectors.store.command import pack
from penstock.connectors.store.embedded import Embedded
from penstock.connectors.store.redis import RedisStore
from penstock.errors import ConfigError, Unavailable
from tests.connectors.contract import until
from tests.connectors.store.contract import StoreContract

OWNER = """
import sys
from penstock.connectors.store.embedded import Embedded
with Embedded(sys.argv[1]) as server:
    print(server._server.pid, flush=True)
    sys.stdin.read()
"""


def at(server: Embedded) -> RedisStore:
    return RedisStore(Site(Settings({"PENSTOCK_STORE": server.address})))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    with Embedded(tmp_path_factory.mktemp("shared")) as server:
        yield server


class TestEmbeddedStore(StoreContract):
    @pytest.fixture
    async def store(self, shared: Embedded) -> AsyncIterator[Store]:
        store = at(shared)
        await store.open()
        yield store
        await store.close()


async def kept(server: Embedded, key: str) -> bytes | None:
    store = at(server)
    await store.open()
    [value] = await store.read([key])
    await store.close()
    return value


async def keep(server: Embedded, key: str, value: bytes) -> None:
    store = at(server)
    await store.open()
    await store.write(key, value)
    await store.close()


async def test_it_keeps_its_data(tmp_path: Path) -> None:
    folder = tmp_path / ".penstock" / "valkey"
    with Embedded(folder) as server:
        assert server.owned
        await keep(server, "river", b"thames")
    with Embedded(folder) as server:
        assert await kept(server, "river") == b"thames"
    server.stop()
    assert not server.owned


async def test_it_promises_what_it_keeps(shared: Embedded) -> None:
    store = at(shared)
    await store.open()
    for directive, value in (("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory-policy", "noeviction")):
        [reply] = await store.connection.ask(pack("CONFIG", "GET", directive))
        assert reply == {directive.encode(): value.encode()}
    await store.close()


@contextmanager
def another_owner(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process that owns the folder's server, and the server's process id."""
    command = [sys.executable, "-c", OWNER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        yield owner, int(owner.stdout.readline())


async def test_killed_with_its_owner_it_has_what_it_answered(tmp_path: Path) -> None:
    """The owner dies as with `kill -9`; the server follows, and the next owner may begin at once."""
    for number in range(4):
        with another_owner(tmp_path) as (owner, pid):
            with Embedded(tmp_path) as guest:
                assert not guest.owned
                if number:
                    assert await kept(guest, "number") == b"%d" % (number - 1)
                await keep(guest, "number", b"%d" % number)
            owner.kill()
            if number == 1:
                os.kill(pid, signal.SIGKILL)
    with Embedded(tmp_path) as server:
        assert server.owned
        assert await kept(server, "number") == b"3"


async def test_it_does_not_outlive_its_owner(tmp_path: Path) -> None:
    with another_owner(tmp_path) as (owner, pid):
        owner.kill()
    await until(lambda: not alive(pid))


def test_of_many_that_start_at_once_one_owns_it(tmp_path: Path) -> None:
    servers = [Embedded(tmp_path) for _ in range(6)]
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(Embedded.start, servers))
    assert sum(server.owned for server in servers) == 1
    for server in servers:
        server.stop()


async def test_a_folder_whose_path_is_long(tmp_path: Path) -> None:
    with Embedded(tmp_path / ("long" * 30)) as server:
        assert await kept(server, "none") is None


async def test_odd_characters_in_the_path(tmp_path: Path) -> None:
    with Embedded(tmp_path / "50% of é?") as server:
        assert await kept(server, "none") is None


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"the embedded store cannot use .*file"):
        Embedded(tmp_path / "file").start()


def test_data_that_it_cannot_read(tmp_path: Path) -> None:
    with Embedded(tmp_path) as server:
        pass
    [data] = (tmp_path / "appendonlydir").glob("*.base.rdb")
    data.write_bytes(b"not a database")
    with pytest.raises(Unavailable, match=r"ended at once: .*valkey.log"):
        server.start()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
