"""Who is guilty when connections end, and who is not."""

from __future__ import annotations

import pytest

from penstock.connectors.mqtt.pace import MOST, SAID, SOON, UNSAID, Pace

MALFORMED, BUSY = 0x81, 0x89


def ended(pace: Pace, *flying: str, sent: int = 0, reason: int | None = MALFORMED, seconds: float = 0.1) -> str | None:
    return pace.ended([*flying], sent=sent or len(flying), reason=reason, seconds=seconds)


@pytest.fixture
def slow() -> Pace:
    """After a connection that was lost with much under way."""
    pace = Pace()
    assert ended(pace, "a", "b", "c") is None
    assert pace.limit == 1
    return pace


@pytest.mark.parametrize(("reason", "times"), [(MALFORMED, SAID), (0, UNSAID)])
def test_who_ends_each_connection_alone_is_guilty(slow: Pace, reason: int, times: int) -> None:
    assert [ended(slow, "a", reason=reason) for _ in range(times)] == [None] * (times - 1) + ["a"]
    assert ended(slow, "b", reason=reason) is None, "the next one begins anew"


def test_answers_double_the_pace_and_clear_who_was_accused(slow: Pace) -> None:
    ended(slow, "a")
    limits = []
    for _ in range(11):
        slow.answered()
        limits.append(slow.limit)
    assert limits == [2, 4, 8, 16, 32, 64, 128, 256, 512, MOST, MOST]
    assert ended(slow, "a") is None
    assert ended(slow, "a") is None
    assert ended(slow, "a") == "a"


@pytest.mark.parametrize(
    "innocent",
    [
        {"reason": None},
        {"reason": BUSY},
        {"reason": 0, "seconds": SOON + 1},
        {"sent": 2},
    ],
    ids=["we ended it", "the broker is busy", "silence after a while", "something without an answer went with it"],
)
def test_what_accuses_nobody(slow: Pace, innocent: dict[str, float]) -> None:
    assert all(slow.ended(["a"], **{"sent": 1, "reason": 0, "seconds": 0.1, **innocent}) is None for _ in range(20))  # type: ignore[arg-type]


def test_no_connection_without_a_message_accuses(slow: Pace) -> None:
    assert all(ended(slow) is None for _ in range(20))
