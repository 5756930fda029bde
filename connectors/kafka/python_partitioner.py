"""Which partition kafka-python puts a record in."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from penstock.connectors.kafka.python_client import library

KEYS = 16_384
"""Keys whose hash is remembered."""


def partitioner() -> Any:
    """The library's own partitioner, which hashes a key in Python: for one that comes again, this one knows."""
    default = library("kafka.partitioner.default")
    own = default.DefaultPartitioner
    if not hasattr(own, "partition"):  # the form that the library gave it before
        return own()
    murmur2 = lru_cache(maxsize=KEYS)(default.murmur2)

    class ByKey(own):  # type: ignore[misc, valid-type]
        def partition(
            self, topic: str, key: Any, serialized_key: bytes | None, value: Any, serialized_value: Any, cluster: Any
        ) -> Any:
            found = None if serialized_key is None else cluster.partitions_for_topic(topic)
            if not found:
                return super().partition(topic, key, serialized_key, value, serialized_value, cluster)
            return sorted(found)[(murmur2(serialized_key) & 0x7FFFFFFF) % len(found)]

    return ByKey()
