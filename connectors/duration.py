"""Lengths of time as people write them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TypeAlias

D: TypeAlias = str | timedelta
"""A length of time: `"250ms"`, `"10m"`, `"1h30m"` or a timedelta."""

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d)")


def seconds(duration: D) -> float:
    """The length in seconds. Raises ValueError for text that is not a length of time.

    >>> seconds("250ms"), seconds("1h30m")
    (0.25, 5400.0)
    >>> seconds("soon")
    Traceback (most recent call last):
    ValueError: 'soon' is not a length of time: write for example "250ms", "10s", "5m", "24h", "7d"
    """
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    text = str(duration)  # anything may have been given in its place, and reads like no length of time
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f'{duration!r} is not a length of time: write for example "250ms", "10s", "5m", "24h", "7d"')
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
