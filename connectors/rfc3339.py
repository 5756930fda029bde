"""Times as CloudEvents write them: RFC 3339 text, and seconds since the epoch."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import msgspec

from penstock.errors import BadEvent

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)")


def instant(time: str) -> float:
    """An RFC 3339 time as seconds since the epoch. Raises `BadEvent`.

    >>> instant("1970-01-01T01:00:00.5+01:00")
    0.5
    """
    if _RFC3339.fullmatch(time):
        # A leap second, which RFC 3339 has and datetime has not, is the first moment of the next minute.
        leap = time[17:19] == "60"
        try:
            moment = msgspec.convert(f"{time[:17]}59{time[19:]}" if leap else time, datetime)
            return (moment - _EPOCH + timedelta(seconds=leap)) / timedelta(seconds=1)
        except (msgspec.ValidationError, OverflowError):
            pass
    raise BadEvent(f"time is {time!r}, not like 2024-05-01T12:00:00Z (RFC 3339)", path="time")


def rfc3339(time: float) -> str:
    """Seconds since the epoch in RFC 3339, UTC, to the microsecond. Raises ValueError outside the years 1 to 9999.

    >>> rfc3339(1714564800.25)
    '2024-05-01T12:00:00.250000Z'
    """
    whole, micros = divmod(round(time * 1e6), 1_000_000)
    return f"{_second(whole)}.{micros:06d}Z"


@lru_cache(maxsize=16)
def _second(whole: int) -> str:
    # Messages of one moment share their second; formatting it is most of the cost.
    try:
        return (_EPOCH + timedelta(seconds=whole)).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    except OverflowError as error:
        raise ValueError(f"{whole} seconds since the epoch is in no year from 1 to 9999") from error
