"""Several worker processes behind one parent."""

from __future__ import annotations

import logging
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from penstock import Pipeline
from penstock.connectors import Http, Kafka, Reply
from penstock.pipeline.serving.exposition import labelled, page
from penstock.pipeline.serving.workers import warn_of_order
from tests.pipeline.process import Running, get, http_app, post, run
from tests.pipeline.serving.test_run import SLOW

ORDER = '{"id": "o1", "customer": "c1", "amount": 21}'


def workers(running: Running) -> list[int]:
    return [child.pid for child in psutil.Process(running.process.pid).children()]


def two(redis_address: str) -> dict[str, str]:
    return {"PENSTOCK_STORE": redis_address, "PENSTOCK_WORKERS": "2"}


def test_they_share_a_port_and_the_parent_tells_of_all(tmp_path: Path, redis_address: str) -> None:
    with Running("run", http_app(tmp_path), folder=tmp_path, settings=two(redis_address)) as running:
        running.ready()
        assert len(workers(running)) == 2
        assert [post(running.url("/orders"), ORDER)[0] for _ in range(20)] == [200] * 20
        metrics = get(running.url("/metrics", admin=True))[1]
        lines = [line for line in metrics.splitlines() if line.startswith("penstock_events_total")]
        assert sum(float(line.split()[-1]) for line in lines) == 20
        assert {'worker="0"' in line for line in lines} == {True, False}
        assert running.stop() == 0


@pytest.mark.slow
def test_one_that_dies_is_replaced(tmp_path: Path, redis_address: str) -> None:
    with Running("run", http_app(tmp_path), folder=tmp_path, settings=two(redis_address)) as running:
        running.ready()
        victim, other = workers(running)
        os.kill(victim, signal.SIGKILL)
        running.says("ended (SIGKILL): starting it again")
        running.until(lambda: len(workers(running)) == 2 and victim not in workers(running), "a new worker")
        running.ready()
        assert other in workers(running)
        assert post(running.url("/orders"), ORDER)[0] == 200
        assert running.stop() == 0


@pytest.mark.slow
def test_they_end_when_their_parent_is_killed(tmp_path: Path, redis_address: str) -> None:
    with Running("run", http_app(tmp_path), folder=tmp_path, settings=two(redis_address)) as running:
        running.ready()
        children = [psutil.Process(pid) for pid in workers(running)]
        running.kill()
        _, alive = psutil.wait_procs(children, timeout=60)
        assert alive == []
        assert "the parent process is gone" in running.text


@pytest.mark.slow
def test_a_signal_drains_them_and_a_second_one_ends_them(tmp_path: Path, redis_address: str) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    with (
        Running("run", "slow.py", folder=tmp_path, settings=two(redis_address)) as running,
        ThreadPoolExecutor() as pool,
    ):
        running.ready()
        answer = pool.submit(post, running.url("/slow"), '{"id": "short"}')
        running.says("taken")
        assert running.stop() == 0
        assert answer.result() == (200, '{"id":"short"}')
    with (
        Running("run", "slow.py", folder=tmp_path, settings=two(redis_address)) as running,
        ThreadPoolExecutor() as pool,
    ):
        running.ready()
        pool.submit(post, running.url("/slow"), '{"id": "long"}')
        running.says("taken")
        children = [psutil.Process(pid) for pid in workers(running)]
        running.process.send_signal(signal.SIGTERM)
        running.says("stopping 2 workers")
        assert running.stop() == 1
        assert psutil.wait_procs(children, timeout=60)[1] == []


def test_a_wrong_setting_ends_all_of_them(tmp_path: Path, redis_address: str) -> None:
    settings = {**two(redis_address), "PENSTOCK_WORKERS": "1", "PENSTOCK_HTTP_LISTEN": "nowhere"}
    done = run("run", http_app(tmp_path), folder=tmp_path, settings=settings)
    assert done.returncode == 2
    assert "PENSTOCK_HTTP_LISTEN is 'nowhere'" in done.stderr
    assert "several workers" not in done.stderr


def same(text: str) -> str:
    return text


def test_order_that_several_workers_cannot_keep_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    keyed = Pipeline("keyed")
    keyed.source(Kafka("in"), Http("/in"), schema=str).act(same, to=Reply())
    free = Pipeline("free", order="none")
    free.source(Http("/in"), schema=str).act(same, to=Reply())
    with caplog.at_level(logging.WARNING):
        warn_of_order(keyed.build())
        warn_of_order(free.build())
    [record] = caplog.records
    assert "http:/in has no partitions" in record.getMessage()
    assert f"{__file__}:" in record.getMessage()


def test_pages_become_one() -> None:
    text = "# HELP size Bytes\n# TYPE size gauge\nsize 3.0\n"
    assert page(labelled({0: text, 1: text})).decode().splitlines() == [
        "# HELP size Bytes",
        "# TYPE size gauge",
        'size{worker="0"} 3.0',
        'size{worker="1"} 3.0',
    ]
