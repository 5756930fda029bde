"""The multiplexed connection: order, batches, errors, and what becomes of requests when the server goes."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from penstock.connectors.store.command import Prepared, pack
from penstock.connectors.store.connection import TRIES, Connection
from penstock.connectors.store.reply import ReplyError
from penstock.errors import ConfigError, Unavailable
from tests.connectors.contract import PATIENCE, until
from tests.servers import Redis
from tests.servers.port import free_port


@asynccontextmanager
async def connected(address: str, **options: Any) -> AsyncIterator[Connection]:
    connection = Connection(address, **options)
    await connection.open()
    try:
        yield connection
    finally:
        await connection.close()


async def test_what_one_tick_asks_for_is_one_write(redis_address: str) -> None:
    async with connected(redis_address) as connection:
        before = connection.statistics()
        futures = [connection.ask(pack("ECHO", number)) for number in range(100)]
        assert connection.statistics().in_flight == 100
        assert await asyncio.gather(*futures) == [[b"%d" % number] for number in range(100)]
        after = connection.statistics()
        assert after.writes - before.writes == 1
        assert after.commands - before.commands == 100
        assert (after.in_flight, after.batch) == (0, 100.0)


async def test_a_pipeline_is_one_future(redis_address: str) -> None:
    async with connected(redis_address) as connection:
        await connection.ask(pack("HSET", "{pipe}:1", "a", 1, "b", 2))
        prepared = Prepared(("HMGET",), ("a", "b", "c"))
        one, other = await asyncio.gather(
            connection.ask(prepared.pack_many(["{pipe}:1", "{pipe}:2"]), 2), connection.ask(pack("PING") * 3, 3)
        )
        assert one == [[b"1", b"2", None], [None, None, None]]
        assert other == [b"PONG"] * 3


async def test_replies_longer_than_a_read_are_put_together(redis_address: str) -> None:
    async with connected(redis_address) as connection:
        value = bytes(3_000_000)
        replies = await connection.ask(pack("SET", "{long}", value) + pack("GET", "{long}") * 3, 4)
        assert replies == [b"OK", value, value, value]
        await connection.ask(pack("DEL", "{long}"))


async def test_a_refused_command_fails_its_own_request_alone(redis_address: str) -> None:
    async with connected(redis_address) as connection:
        await connection.ask(pack("SET", "{refused}", "text"))
        wrong = connection.ask(pack("PING") + pack("HGET", "{refused}", "a"), 2)
        fine = connection.ask(pack("PING"))
        with pytest.raises(ReplyError) as caught:
            await wrong
        assert caught.value.code == "WRONGTYPE"
        assert await fine == [b"PONG"]
        asked = pack("HMGET", "{refused}", "a") + pack("PING")
        assert await connection.ask(asked, 2, forgive="WRONGTYPE") == [None, b"PONG"]


async def test_an_abandoned_request_takes_no_other_ones_reply(redis_address: str) -> None:
    async with connected(redis_address) as connection:
        abandoned = connection.ask(pack("ECHO", "first"))
        kept = connection.ask(pack("ECHO", "second"))
        abandoned.cancel()
        assert await kept == [b"second"]


async def test_pushes_of_the_server_are_not_replies(redis_address: str) -> None:
    async with connected(redis_address) as connection, connected(redis_address) as other:
        await connection.ask(pack("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "{push}"))
        for number in range(20):
            echoes = connection.ask(pack("ECHO", number) * 3, 3)
            await other.ask(pack("SET", "{push}", number))
            assert await echoes == [b"%d" % number] * 3
            assert await connection.ask(pack("ECHO", number)) == [b"%d" % number]


async def test_the_limit_is_said(redis_address: str) -> None:
    async with connected(redis_address, limit=10) as connection:
        futures = [connection.ask(pack("PING")) for _ in range(10)]
        with pytest.raises(Unavailable, match="10 is the limit"):
            await connection.ask(pack("PING"))
        assert connection.statistics().limit == 10
        await asyncio.gather(*futures)
        assert await connection.ask(pack("PING")) == [b"PONG"]


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        ("CONFIG SET maxmemory 1", "OOM"),
        ("REPLICAOF 127.0.0.1 1", "READONLY"),
        ("CONFIG SET min-replicas-to-write 1", "NOREPLICAS"),
    ],
)
async def test_a_server_that_cannot_serve_is_an_outage(own_redis: Redis, trouble: str, code: str) -> None:
    async with connected(own_redis.address) as connection:
        await connection.ask(pack(*trouble.split()))
        with pytest.raises(Unavailable, match=code):
            await connection.ask(pack("SET", "a", "b"))


async def test_a_login_that_is_refused_says_so_without_the_secret(own_redis: Redis) -> None:
    async with connected(own_redis.address) as connection:
        await connection.ask(pack("CONFIG", "SET", "requirepass", "sesame"))
    right = own_redis.address.replace("redis://", "redis://:sesame@")
    async with connected(right) as connection:
        assert await connection.ask(pack("PING")) == [b"PONG"]
    for login in ("", ":thatch@", "nobody:thatch@"):
        with pytest.raises(ConfigError, match=r"store: 127.0.0.1.* refuses the login") as caught:
            await Connection(own_redis.address.replace("redis://", f"redis://{login}")).open()
        assert "thatch" not in str(caught.value)


async def test_a_user_with_few_rights_is_enough() -> None:
    with Redis({"user": "reader on >sesame ~card:* +get"}) as server:
        async with connected(server.address.replace("redis://", "redis://reader:sesame@")) as connection:
            assert await connection.ask(pack("GET", "card:1")) == [None]
            with pytest.raises(ReplyError, match="NOPERM"):
                await connection.ask(pack("GET", "other"))


@pytest.mark.parametrize("url", ["localhost:6379", "http://localhost", "redis://localhost/0?flavour=vanilla"])
async def test_an_address_that_is_none_says_so(url: str) -> None:
    with pytest.raises(ConfigError, match="write for example redis://"):
        await Connection(url).open()


async def test_a_database_and_a_socket_file_are_part_of_the_address() -> None:
    with Redis() as server:
        path = server.folder / "redis.sock"
        server.settings = {**server.settings, "unixsocket": str(path)}
        server.stop()
        server.start()
        async with connected(f"unix://{path}?db=3") as connection, connected(server.address) as zero:
            await connection.ask(pack("SET", "a", "b"))
            assert await zero.ask(pack("GET", "a") + pack("SELECT", 3) + pack("GET", "a"), 3) == [None, b"OK", b"b"]


async def test_tls_is_part_of_the_address(tmp_path: Path) -> None:
    key, certificate, port = tmp_path / "key.pem", tmp_path / "certificate.pem", free_port()
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    make += ["-days", "2", "-subj", "/CN=test"]
    make += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    await asyncio.to_thread(subprocess.run, make, check=True, capture_output=True)
    settings = {"tls-port": str(port), "tls-cert-file": str(certificate), "tls-key-file": str(key)}
    with Redis({**settings, "tls-auth-clients": "no"}):
        address = f"rediss://127.0.0.1:{port}/0"
        async with connected(f"{address}?ssl_ca_certs={certificate}") as connection:
            value = bytes(1_000_000)
            asked = connection.ask(pack("SET", "a", value) + pack("GET", "a"), 2)
            assert await asked == [b"OK", value]
        with pytest.raises(Unavailable, match=r"(?i)certificate.verify.failed"):
            await Connection(address).open()


async def test_without_a_server_opening_says_so(own_redis: Redis) -> None:
    own_redis.stop()
    connection = Connection(own_redis.address)
    with pytest.raises(Unavailable, match=f"store: .*{own_redis.port} does not answer"):
        await connection.open()
    own_redis.start()
    await connection.open()
    assert connection.problem is None
    await connection.close()
    await connection.close()
    with pytest.raises(Unavailable, match="closed"):
        await connection.ask(pack("PING"))


async def test_in_flight_when_the_server_is_killed(own_redis: Redis) -> None:
    """Reads and idempotent writes are answered by the next server; what cannot be sent twice says so."""
    async with connected(own_redis.address, patience=PATIENCE) as connection:
        await connection.ask(pack("SET", "a", 1))
        await connection.ask(pack("CONFIG", "SET", "appendfsync", "always"))
        own_redis.pause()
        read = connection.ask(pack("GET", "a"), again=True)
        count = connection.ask(pack("INCR", "n"))
        write = connection.ask(pack("SET", "b", 2), again=True)
        await asyncio.sleep(0)
        assert connection.statistics().in_flight == 3
        own_redis.kill()
        with pytest.raises(Unavailable, match="outcome unknown"):
            await count
        later = connection.ask(pack("GET", "b"))
        own_redis.start()
        assert [await each for each in (read, write, later)] == [[b"1"], [b"OK"], [b"2"]]
        assert connection.problem is None
        assert connection.statistics().in_flight == 0
        assert connection.statistics().connects == 2


async def test_when_patience_runs_out_everything_fails_until_the_server_is_back(own_redis: Redis) -> None:
    async with connected(own_redis.address, patience=0.0) as connection:
        await connection.ask(pack("PING"))
        own_redis.pause()
        read = connection.ask(pack("GET", "a"), again=True)
        await asyncio.sleep(0)
        own_redis.kill()
        with pytest.raises(Unavailable, match="does not answer"):
            await read
        assert connection.problem is not None
        with pytest.raises(Unavailable, match="does not answer"):
            await connection.ask(pack("PING"))
        own_redis.start()
        await until(lambda: connection.problem is None)
        assert await connection.ask(pack("PING")) == [b"PONG"]


async def test_a_silent_server_counts_as_lost(own_redis: Redis) -> None:
    async with connected(own_redis.address, timeout=1.0, patience=PATIENCE) as connection:
        await connection.ask(pack("PING"))
        own_redis.pause()
        count = connection.ask(pack("INCR", "n"))
        read = connection.ask(pack("GET", "a"), again=True)
        with pytest.raises(Unavailable, match="outcome unknown"):
            await count
        own_redis.resume()
        assert await read == [None]


async def test_a_request_that_kills_every_connection_is_not_sent_for_ever(own_redis: Redis) -> None:
    async with connected(own_redis.address, patience=PATIENCE) as connection:
        await connection.ask(pack("PING"))
        killing = connection.ask(pack("SHUTDOWN", "NOSAVE"), again=True)
        for _ in range(TRIES):
            await until(lambda: not own_redis.running)
            own_redis.stop()
            own_redis.start()
        with pytest.raises(Unavailable, match="was lost"):
            await killing
        assert await connection.ask(pack("PING")) == [b"PONG"]


async def test_closing_fails_what_is_in_flight(redis_address: str) -> None:
    connection = Connection(redis_address)
    await connection.open()
    future = connection.ask(pack("BLPOP", "{never}", 0))
    waiting = connection.ask(pack("PING"))
    await connection.close()
    for each in (future, waiting):
        with pytest.raises(Unavailable):
            await each


async def test_what_nobody_foresaw_does_not_end_the_connection(
    redis_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for the connection to come back would wait for ever."""
    async with connected(redis_address, patience=PATIENCE) as connection:
        greet, failures = Connection._greet, [RuntimeError("unforeseen")]

        async def once(self: Connection) -> Any:
            if failures:
                raise failures.pop()
            return await greet(self)

        monkeypatch.setattr(Connection, "_greet", once)
        assert connection._link is not None
        connection._link.abort()
        await until(lambda: not failures)
        assert await connection.ask(pack("PING"), again=True) == [b"PONG"]
