"""What the store holds of the program's counters, against the events that there were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import redis

from tests.chaos.tally import Step


def right(address: str, pipeline: str, sent: Sequence[Step]) -> None:
    """Every key and every shop holds the number of its distinct events, no more and no less."""
    keys = Counter(step.key for step in sent)
    shops = Counter(str(shop) for step in sent for shop in (step.shop, step.shop + 1))
    with redis.Redis.from_url(address) as client:
        for stage, counts in (("keys", keys), ("shops", shops)):
            names = list(counts)
            held: list[Any] = [client.hget(f"penstock:{pipeline}:state:{stage}:{name}", "=") for name in names]
            found = {name: msgspec.msgpack.decode(value, type=int) for name, value in zip(names, held, strict=True)}
            assert found == counts, stage
