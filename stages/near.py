"""A near cache: answers that hold for a while, kept in the process and bounded in number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class NearCache:
    """Values by key, each for `ttl` seconds of `clock`, at most `size` of them: the oldest make room.

    >>> now = 0.0
    >>> cache = NearCache(60.0, lambda: now)
    >>> cache.put("card:7", "gold"); cache.get("card:7")
    'gold'
    >>> now = 60.0
    >>> cache.get("card:7", "unknown")
    'unknown'
    """

    __slots__ = ("_clock", "_kept", "_size", "_ttl")

    def __init__(self, ttl: float, clock: Callable[[], float], size: int = 65_536) -> None:
        self._ttl = ttl
        self._clock = clock
        self._size = size
        self._kept: dict[str, tuple[float, Any]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: str, otherwise: Any = None) -> Any:
        """The value, or `otherwise` where there is none that still holds."""
        kept = self._kept.get(key)
        if kept is None:
            return otherwise
        if kept[0] <= self._clock():
            del self._kept[key]
            return otherwise
        return kept[1]

    def put(self, key: str, value: Any) -> None:
        """Keep a value from now on."""
        # Taken out first, so that the order of the dict stays the order of expiry.
        self._kept.pop(key, None)
        if len(self._kept) >= self._size:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = (self._clock() + self._ttl, value)
