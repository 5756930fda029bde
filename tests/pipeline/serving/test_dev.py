"""`penstock dev`: everything embedded, and nothing lost."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from tests.pipeline.process import Running, ask, http_app, post, run, topics_app

LATE = """
import asyncio
import os

from msgspec import Struct
from penstock import Pipeline
from penstock.connectors import Kafka


class Order(Struct):
    id: str


async def confirm(order: Order) -> Order:
    if os.path.exists("hold"):
        print("held", order.id, flush=True)
        await asyncio.sleep(3600)
    return order


one = Pipeline("late")
one.source(Kafka("orders"), schema=Order, id="id").act(confirm, to=Kafka("confirmed"))
"""


def order(number: int) -> str:
    return json.dumps({"id": f"o{number}", "customer": f"c{number}", "amount": number})


@pytest.mark.slow
def test_topics_are_streams_and_the_other_commands_find_them(tmp_path: Path) -> None:
    app = topics_app(tmp_path)
    with Running("dev", app, folder=tmp_path) as dev:
        dev.says("penstock tail kafka:confirmed")
        assert ask("send", "kafka:orders", folder=tmp_path, given=order(1)).returncode == 0
        mqtt = json.dumps({"id": "o2", "amount": 2})
        assert ask("send", "mqtt:shops/c2/orders", folder=tmp_path, given=mqtt).returncode == 0
        assert ask("send", "kafka:orders", "--raw", folder=tmp_path, given="{broken").returncode == 0
        tail = run("tail", "kafka:confirmed", "--earliest", "-n", "2", folder=tmp_path)
        assert sorted(json.loads(line)["customer"] for line in tail.stdout.splitlines()) == ["c1", "c2"]
        assert ask("tail", "mqtt:confirmed/+", "--earliest", folder=tmp_path).returncode == 2
        dev.says("is kept as dead letter")
        dead = ask("dead", "list", "--no-group", folder=tmp_path)
        assert "not valid JSON" in dead.stdout
        assert dev.stop(signal.SIGINT) == 0
    assert "not valid JSON" in ask("dead", "list", folder=tmp_path).stdout, "also where nothing runs"

    [letter] = [json.loads(line) for line in ask("dead", "export", folder=tmp_path).stdout.splitlines()]
    (tmp_path / "editor.py").write_text(f"import sys\nopen(sys.argv[1], 'w').write({order(3)!r})\n")
    editor = {"EDITOR": f"{sys.executable} {tmp_path / 'editor.py'}"}
    assert ask("dead", "edit", app, letter["id"], folder=tmp_path, settings=editor).returncode == 0
    replayed = run("dead", "replay", app, folder=tmp_path)
    assert (replayed.returncode, replayed.stderr.splitlines()[-1]) == (
        0,
        "1 letter replayed, 0 failed again, 0 skipped",
    )
    with Running("dev", app, folder=tmp_path) as dev:
        dev.says("penstock tail kafka:confirmed")
        tail = run("tail", "kafka:confirmed", "--earliest", "-n", "3", folder=tmp_path)
    assert [json.loads(line)["customer"] for line in tail.stdout.splitlines()].count("c3") == 1


@pytest.mark.slow
def test_killed_and_started_again_it_has_lost_nothing(tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text(LATE)
    (tmp_path / "hold").touch()
    lines = "".join(order(number) + "\n" for number in range(200))
    with Running("dev", "late.py", folder=tmp_path) as dev:
        dev.says("penstock tail kafka:confirmed")
        sent = run("send", "kafka:orders", folder=tmp_path, given=lines)
        assert "200 events sent" in sent.stderr
        dev.says("held")
        dev.kill()
    (tmp_path / "hold").unlink()
    assert run("send", "kafka:orders", folder=tmp_path, given=order(200)).returncode == 0, "also where nothing runs"
    with Running("dev", "late.py", folder=tmp_path) as dev:
        dev.says("penstock tail kafka:confirmed")
        tail = run("tail", "kafka:confirmed", "--earliest", "-n", "201", folder=tmp_path)
        assert {json.loads(line)["id"] for line in tail.stdout.splitlines()} == {f"o{n}" for n in range(201)}
        assert dev.stop() == 0


@pytest.mark.slow
def test_topics_of_mqtt_are_followed_with_wildcards(tmp_path: Path) -> None:
    app = topics_app(tmp_path)
    with Running("dev", app, folder=tmp_path) as dev:
        dev.says("penstock tail mqtt:confirmed/+")
        with Running("tail", "mqtt:confirmed/+", "--full", "-n", "1", folder=tmp_path) as tail:

            def heard() -> bool:
                run("send", "mqtt:shops/c7/orders", folder=tmp_path, given=json.dumps({"id": "o7", "amount": 7}))
                return tail.process.poll() == 0

            tail.until(heard, "waiting for the confirmation")
            found = json.loads(tail.text)
            assert (found["topic"], found["data"]["customer"]) == ("confirmed/c7", "c7")


@pytest.mark.slow
def test_two_of_them_do_not_share_a_folder(tmp_path: Path) -> None:
    app = http_app(tmp_path)
    with Running("dev", app, folder=tmp_path) as dev:
        dev.says("Try, in another terminal")
        done = run("dev", app, folder=tmp_path)
        assert done.returncode == 2
        assert "another `penstock dev` runs in this folder" in done.stderr
        assert post(dev.url("/orders"), order(1))[0] == 200


def test_what_has_an_address_is_not_embedded(tmp_path: Path, redis_address: str) -> None:
    with Running("dev", http_app(tmp_path), folder=tmp_path, settings={"PENSTOCK_STORE": redis_address}) as dev:
        dev.says("Try, in another terminal")
        assert not (tmp_path / ".penstock" / "valkey").exists()


@pytest.mark.slow
def test_tail_needs_it_to_run(tmp_path: Path) -> None:
    app = topics_app(tmp_path)
    with Running("dev", app, folder=tmp_path) as dev:
        dev.says("penstock tail kafka:confirmed")
    done = run("tail", "kafka:confirmed", folder=tmp_path)
    assert done.returncode == 2
    assert "`penstock dev` does not run in this folder" in done.stderr
