"""`penstock dev` killed with -9 in the middle of a stream of events, and started again: nothing is lost."""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from penstock.connectors.store.embedded import Embedded
from tests.pipeline.process import Running, get

COUNT = 3000
DEATHS = 3

SHOPS = """
from msgspec import Struct
from penstock import Pipeline
from penstock.connectors import Kafka
from penstock.stages import state


class Sale(Struct):
    id: str
    card: str
    shop: str


def counted(so_far: int | None, sale: Sale) -> int:
    return (so_far or 0) + 1


def told(sale: Sale, count: int) -> dict[str, object]:
    return {"id": sale.id, "card": sale.card, "shop": sale.shop, "count": count}


one = Pipeline("shops")
sales = one.source(Kafka("sales"), schema=Sale, key="card", id="id")
by_shop = sales.through(Kafka("sales-by-shop"), key="shop")
by_shop.enrich(count=state(int, by="shop", update=counted)).act(told, to=Kafka("told"), once=True)
"""


def sale(number: int) -> dict[str, str]:
    return {"id": f"s{number}", "card": f"c{number % 17}", "shop": f"shop-{number % 5}"}


def actions(dev: Running) -> float:
    """How many actions this process has confirmed so far."""
    _, page = get(dev.url("/metrics", admin=True))
    return sum(map(float, re.findall(r"^penstock_actions_total\{.*?\} (\S+)$", page, re.MULTILINE)))


def sent(folder: Path) -> list[tuple[str, dict[str, str]]]:
    """Everything in the topic of actions: the ids, with what was said under them, partition by partition."""
    with Embedded(folder / ".penstock" / "valkey") as server, redis.from_url(server.address) as client:
        entries: list[Any] = [one for number in range(4) for one in client.xrange(f"kafka:told:{number}") or ()]
    return [(fields[b"ce_id"].decode(), json.loads(fields[b"data"])) for _, fields in entries]


def confirmed_more(dev: Running, least: int) -> bool:
    return actions(dev) > least


def started(running: ExitStack, folder: Path) -> Running:
    """The app at work; it ends with the test."""
    dev = running.enter_context(Running("dev", "shops.py", folder=folder))
    dev.says("penstock tail kafka:told")
    return dev


@pytest.mark.slow
def test_killed_in_the_middle_of_a_stream_it_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "shops.py").write_text(SHOPS)
    events = tmp_path / "sales.json"
    events.write_text("".join(json.dumps(sale(number)) + "\n" for number in range(COUNT)))
    chance = random.Random(9)
    with ExitStack() as running:
        dev = started(running, tmp_path)
        with Running("send", "kafka:sales", str(events), folder=tmp_path) as sender:
            for _ in range(DEATHS):
                least = chance.randrange(COUNT // 8)
                dev.until(partial(confirmed_more, dev, least), "waiting for actions")
                dev.kill()
                dev = started(running, tmp_path)
            sender.until(lambda: sender.process.poll() is not None, "sending the events")
            assert sender.process.returncode == 0, sender.text
        dev.until(lambda: len({id for id, _ in sent(tmp_path)}) == COUNT, "waiting for the last actions")
        assert dev.stop() == 0

    said: dict[str, set[str]] = defaultdict(set)
    for id, told in sent(tmp_path):
        said[id].add(json.dumps(told))
    assert said.keys() == {f"s{number}/told" for number in range(COUNT)}
    assert all(len(contents) == 1 for contents in said.values()), "a repeat says the same under the same id"
    counts: dict[str, list[int]] = defaultdict(list)
    for [content] in said.values():
        told = json.loads(content)
        counts[told["shop"]].append(told["count"])
    assert {shop: sorted(found) for shop, found in counts.items()} == {
        f"shop-{shop}": list(range(1, COUNT // 5 + 1)) for shop in range(5)
    }, "each event counted once"
