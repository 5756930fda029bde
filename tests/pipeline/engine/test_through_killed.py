"""`through` on Kafka, killed with -9 again and again: nothing is lost, each event counts once, repeats say the same."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections import defaultdict
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.pipeline.process import PATIENCE, Running, run
from tests.pipeline.serving.test_dev_killed import SHOPS, confirmed_more, sale
from tests.servers import Redis

COUNT = 1500
DEATHS = 2


class Topics:
    """Three topics that no other test has, and an app that goes from the first through the second to the third."""

    def __init__(self, address: str) -> None:
        self.address = address
        tag = uuid.uuid4().hex[:8]
        self.sales, self.between, self.told = (f"{name}-{tag}" for name in ("sales", "sales-by-shop", "told"))
        admin = AdminClient({"bootstrap.servers": address})
        made = admin.create_topics([NewTopic(name, 4, 1) for name in (self.sales, self.between, self.told)])
        for topic in made.values():
            topic.result(PATIENCE)
        self.app = (
            SHOPS.replace('Kafka("sales")', f'Kafka("{self.sales}", start="earliest")')
            .replace("sales-by-shop", self.between)
            .replace('"told"', f'"{self.told}"')
            .replace('Pipeline("shops")', f'Pipeline("shops-{tag}")')
        )

    def said(self, distinct: int) -> dict[str, set[str]]:
        """What was said under each id, once there are so many ids and nothing more comes."""
        consumer = ck.Consumer(
            {"bootstrap.servers": self.address, "group.id": self.told, "auto.offset.reset": "earliest"}
        )
        consumer.subscribe([self.told])
        found: dict[str, set[str]] = defaultdict(set)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            records = consumer.consume(1000, timeout=1.0)
            for record in records:
                assert record.error() is None
                headers: dict[str, Any] = dict(record.headers() or ())
                found[headers["ce_id"].decode()].add((record.value() or b"").decode())
            if len(found) >= distinct and not records:
                break
        consumer.close()
        return found


@pytest.mark.slow
@pytest.mark.parametrize("client", ["confluent", "kafka-python"])
def test_each_event_counts_once_past_a_topic_whoever_is_killed(client: str, tmp_path: Path, kafka_address: str) -> None:
    topics = Topics(kafka_address)
    (tmp_path / "shops.py").write_text(topics.app)
    events = [json.dumps(sale(number)) + "\n" for number in range(COUNT)]
    share = COUNT // (DEATHS + 1)
    chance = random.Random(4)
    with Redis({"appendonly": "yes", "appendfsync": "always"}) as store, ExitStack() as running:
        settings = {
            "PENSTOCK_KAFKA": kafka_address,
            "PENSTOCK_KAFKA_CLIENT": client,
            "PENSTOCK_STORE": store.address,
        }

        def started() -> Running:
            return running.enter_context(Running("run", "shops.py", folder=tmp_path, settings=settings)).ready()

        process = started()
        for life in range(DEATHS + 1):
            some = "".join(events[life * share : (life + 1) * share])
            assert run("send", f"kafka:{topics.sales}", folder=tmp_path, settings=settings, given=some).returncode == 0
            if life < DEATHS:
                process.until(partial(confirmed_more, process, chance.randrange(share // 2)), "waiting for actions")
                process.kill()
                process = started()
        said = topics.said(COUNT)
        assert process.stop() == 0

    assert said.keys() == {f"s{number}/told" for number in range(COUNT)}
    assert all(len(contents) == 1 for contents in said.values()), "a repeat says the same under the same id"
    counts: dict[str, list[int]] = defaultdict(list)
    for [content] in said.values():
        told = json.loads(content)
        counts[told["shop"]].append(told["count"])
    each = list(range(1, COUNT // 5 + 1))
    assert {shop: sorted(found) for shop, found in counts.items()} == {f"shop-{shop}": each for shop in range(5)}
