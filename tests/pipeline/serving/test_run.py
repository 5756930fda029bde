"""`penstock run`: real processes against a real store."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.process import Running, get, http_app, post, run
from tests.servers import Redis

ORDER = '{"id": "o1", "customer": "c1", "amount": 21}'


def test_it_serves_tells_how_it_is_and_drains_on_sigterm(tmp_path: Path, redis_address: str) -> None:
    with Running("run", http_app(tmp_path), folder=tmp_path, settings={"PENSTOCK_STORE": redis_address}) as running:
        running.ready()
        status, body = post(running.url("/orders"), ORDER)
        assert (status, json.loads(body)) == (200, {"id": "o1", "customer": "c1", "amount": 42.0})
        assert get(running.url("/healthz", admin=True)) == (200, "ok\n")
        metrics = get(running.url("/metrics", admin=True))[1]
        assert 'penstock_events_total{name="/orders",pipeline="orders"} 1.0' in metrics
        assert "process_cpu_seconds_total" in metrics
        assert running.stop() == 0
        assert "orders is ready after" in running.text


def test_several_apps_share_one_process_and_one_port(tmp_path: Path, redis_address: str) -> None:
    apps = [http_app(tmp_path, "orders"), http_app(tmp_path, "returns")]
    with Running("run", *apps, folder=tmp_path, settings={"PENSTOCK_STORE": redis_address}) as running:
        running.ready()
        assert [post(running.url(path), ORDER)[0] for path in ("/orders", "/returns", "/nowhere")] == [200, 200, 404]
        metrics = get(running.url("/metrics", admin=True))[1]
        assert metrics.count("# TYPE penstock_events_total counter") == 1
        assert 'pipeline="orders"' in metrics
        assert 'pipeline="returns"' in metrics
        assert running.stop(signal.SIGINT) == 0


CALLING = """
import os

from msgspec import Struct
from penstock import Pipeline
from penstock.connectors import Http


class Order(Struct):
    id: str
    customer: str
    amount: float


def hand_on(order: Order) -> Order:
    return order


one = Pipeline("calling")
one.source(Http("/calling"), schema=Order, key="customer", id="id").act(
    hand_on, to=Http(f"http://{os.environ['PENSTOCK_HTTP_LISTEN']}/{{customer}}")
)
"""


def test_an_action_calls_a_url_filled_in_from_it(tmp_path: Path, redis_address: str) -> None:
    (tmp_path / "calling.py").write_text(CALLING)
    apps = ["calling.py", http_app(tmp_path, "returns")]
    with Running("run", *apps, folder=tmp_path, settings={"PENSTOCK_STORE": redis_address}) as running:
        running.ready()
        order = '{"id": "o1", "customer": "returns", "amount": 1}'
        assert post(running.url("/calling"), order)[0] == 202
        metrics = get(running.url("/metrics", admin=True))[1]
        assert 'penstock_events_total{name="/returns",pipeline="returns"} 1.0' in metrics
        assert running.stop() == 0


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[tuple[Running, Redis]]:
    """A pipeline that waits for its store, which is down."""
    with Redis() as server:
        server.stop()
        settings = {"PENSTOCK_STORE": server.address}
        with Running("run", http_app(tmp_path), folder=tmp_path, settings=settings) as running:
            running.says("waiting for store")
            yield running, server


def test_a_store_that_is_down_at_the_start_is_waited_for(waiting: tuple[Running, Redis]) -> None:
    running, server = waiting
    status, body = get(running.url("/readyz", admin=True))
    assert status == 503
    assert body.startswith("waiting for store")
    server.start()
    running.ready()
    assert post(running.url("/orders"), ORDER)[0] == 200
    assert running.stop() == 0


def test_a_signal_while_it_waits_ends_it(waiting: tuple[Running, Redis]) -> None:
    running, _ = waiting
    assert running.stop() == 0


def test_a_taken_port_is_one_line_and_exit_code_2(tmp_path: Path, redis_address: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        for name in ("PENSTOCK_ADMIN_LISTEN", "PENSTOCK_HTTP_LISTEN"):
            settings = {"PENSTOCK_STORE": redis_address, name: where}
            done = run("run", http_app(tmp_path), folder=tmp_path, settings=settings)
            assert done.returncode == 2
            [line] = [line for line in done.stderr.splitlines() if line.startswith("error")]
            assert name in line
            assert where in line


def test_json_logs_are_one_object_a_line(tmp_path: Path, redis_address: str) -> None:
    settings = {"PENSTOCK_STORE": redis_address}
    with Running("run", http_app(tmp_path), "--log", "json", folder=tmp_path, settings=settings) as running:
        running.ready()
        running.stop()
        lines = [json.loads(line) for line in running.text.splitlines()]
        assert {"time", "level", "logger", "message"} <= lines[0].keys()
        assert any("is ready" in line["message"] for line in lines)


SLOW = """
import asyncio

from msgspec import Struct
from penstock import Pipeline
from penstock.connectors import Http, Reply


class Order(Struct):
    id: str


async def slow(order: Order) -> Order:
    print("taken", flush=True)
    await asyncio.sleep(1.0 if order.id == "short" else 3600)
    return order


one = Pipeline("slow")
one.source(Http("/slow", timeout="1h"), schema=Order, id="id").act(slow, to=Reply())
"""


def test_what_is_in_flight_is_finished_before_the_end(tmp_path: Path, redis_address: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    (tmp_path / "slow.py").write_text(SLOW)
    with (
        Running("run", "slow.py", folder=tmp_path, settings={"PENSTOCK_STORE": redis_address}) as running,
        ThreadPoolExecutor() as pool,
    ):
        running.ready()
        answer = pool.submit(post, running.url("/slow"), '{"id": "short"}')
        running.says("taken")
        assert running.stop() == 0
        assert answer.result() == (200, '{"id":"short"}')


def test_a_second_signal_ends_it_at_once(tmp_path: Path, redis_address: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    (tmp_path / "slow.py").write_text(SLOW)
    with (
        Running("run", "slow.py", folder=tmp_path, settings={"PENSTOCK_STORE": redis_address}) as running,
        ThreadPoolExecutor() as pool,
    ):
        running.ready()
        pool.submit(post, running.url("/slow"), '{"id": "long"}')
        running.says("taken")
        running.process.send_signal(signal.SIGTERM)
        running.says("stopping")
        assert running.stop() == 1
        assert "ended at once" in running.text
