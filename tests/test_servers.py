"""The servers that the tests run against: they answer, keep their data, and do not outlive their starter."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.servers import Kafka, Mosquitto, Redis, Server, ServerFailed, Valkey
from tests.servers.port import HOST, answers


def ask(server: Redis, command: str) -> bytes:
    """Send one inline command to a Redis and return its reply."""
    with socket.create_connection((HOST, server.port), timeout=5) as connection:
        connection.sendall(command.encode() + b"\r\n")
        return connection.recv(1024)


def eventually(condition: Callable[[], bool], patience: float = 10) -> bool:
    """Whether a condition on other processes comes true within some seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent to notice does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_shared_servers_answer(
    kafka_address: str, mqtt_address: str, redis_address: str, valkey_address: str
) -> None:
    for address in (kafka_address, mqtt_address, redis_address, valkey_address):
        host, port = address.split("://")[-1].split("/")[0].rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=5):
            pass


@pytest.mark.parametrize("kind", [Redis, Valkey])
def test_a_server_killed_and_started_again_has_its_port_and_data(kind: type[Redis]) -> None:
    with kind({"appendfsync": "always"}) as server:
        address = server.address
        assert ask(server, "SET river thames") == b"+OK\r\n"
        server.kill()
        assert not server.running
        server.start()
        assert server.address == address
        assert ask(server, "GET river") == b"$6\r\nthames\r\n"


@pytest.mark.parametrize("kind", [pytest.param(Kafka, marks=pytest.mark.slow), Mosquitto])
def test_a_broker_stops_and_starts_again(kind: type[Server]) -> None:
    with kind() as server:
        server.stop()
        assert not server.running
        server.start()
        assert server.running


def test_a_paused_server_is_silent_until_it_is_resumed(own_redis: Redis) -> None:
    own_redis.pause()
    assert not answers(own_redis.port, b"PING\r\n", b"+PONG")
    own_redis.resume()
    assert own_redis.ready()


def test_closing_leaves_nothing_behind() -> None:
    with Redis() as server:
        pid = server.pid
        assert server.folder.exists()
    assert not alive(pid)
    assert not server.folder.exists()
    server.close()


def test_a_server_that_cannot_start_says_why() -> None:
    with (
        pytest.raises(ServerFailed, match=r"(?s)redis on port \d+ ended at once.*maxmemory-policy"),
        Redis({"maxmemory-policy": "never"}),
    ):
        pass


def test_a_server_does_not_outlive_a_starter_that_was_killed() -> None:
    program = "from tests.servers import Redis; r = Redis().start(); print(r.pid, r.folder, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        pid, folder = starter.stdout.readline().split()
        assert alive(int(pid))
        starter.kill()
    assert eventually(lambda: not alive(int(pid)))
    assert eventually(lambda: not Path(folder).exists())


def test_the_command_prints_addresses_until_it_is_interrupted() -> None:
    command = [sys.executable, "-m", "tests.servers", "redis"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(f"PENSTOCK_STORE=redis://{HOST}:")
        assert process.stdout.readline().startswith(f"PENSTOCK_REDIS=redis://{HOST}:")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_the_command_gives_the_addresses_to_a_command_and_its_exit_code_back() -> None:
    program = "import os, sys; sys.exit(7 if os.environ['PENSTOCK_STORE'].startswith('redis://') else 1)"
    command = [sys.executable, "-m", "tests.servers", "redis", "--", sys.executable, "-c", program]
    assert subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 7


def test_the_command_refuses_what_it_does_not_know() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.servers", "rabbit"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "kafka|mosquitto|redis|valkey" in done.stderr
