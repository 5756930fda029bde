"""A near cache holds its values for a while, and no more of them than it may."""

from __future__ import annotations

from penstock.stages.near import NearCache


def test_values_expire_and_are_renewed() -> None:
    now = 0.0
    cache = NearCache(10.0, lambda: now)
    cache.put("a", 1)
    cache.put("b", None)
    now = 5.0
    cache.put("a", 2)
    now = 10.0
    assert cache.get("a") == 2
    assert cache.get("b", "gone") == "gone"
    now = 15.0
    assert cache.get("a", "gone") == "gone"
    assert len(cache) == 0


def test_the_oldest_make_room() -> None:
    cache = NearCache(10.0, lambda: 0.0, size=3)
    for key in "abc":
        cache.put(key, key)
    cache.put("a", "renewed")
    cache.put("d", "d")
    assert [cache.get(key) for key in "abcd"] == ["renewed", None, "c", "d"]
    assert len(cache) == 3
