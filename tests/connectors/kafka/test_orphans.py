"""Looking for partitions that a group has left to nobody, with a group that answers as it is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from penstock.connectors.kafka.orphans import FIRST, LAST, Answer, Orphans


class Group:
    """What a group answers, and how often it was asked and joined again."""

    def __init__(self) -> None:
        self.claimed: Answer = frozenset()
        self.asked = self.joined = 0
        self.orphans = Orphans("payments", self._answer, self._join)
        self.orphans.begin(range(4), 0.0)

    def _answer(self, tell: Callable[[Answer], None]) -> None:
        self.asked += 1
        tell(self.claimed)

    def _join(self) -> None:
        self.joined += 1

    def pass_time(self, until: float, since: float = 0.0) -> None:
        """Look every tenth of a second."""
        for tenth in range(round(since * 10), round(until * 10)):
            self.orphans.look(tenth / 10)


@pytest.fixture
def group() -> Group:
    return Group()


def test_a_group_that_has_everything_is_asked_once(group: Group) -> None:
    group.claimed = frozenset(range(4))
    group.pass_time(FIRST)
    assert group.asked == 0
    group.pass_time(100, since=FIRST)
    assert (group.asked, group.joined) == (1, 0)


def test_partitions_that_are_nobodys_twice_are_assigned_anew(group: Group, caplog: pytest.LogCaptureFixture) -> None:
    group.claimed = frozenset({0, 1})
    group.pass_time(2 * FIRST)
    assert group.joined == 0  # they may be on their way
    group.pass_time(5 * FIRST, since=2 * FIRST)
    assert group.joined == 1
    assert "payments: partitions [2, 3] were left to nobody: the group is joined again" in caplog.messages
    group.claimed = frozenset(range(4))
    group.pass_time(100, since=5 * FIRST)
    assert (group.asked, group.joined) == (3, 1)


def test_partitions_on_their_way_are_left_alone(group: Group) -> None:
    group.claimed = frozenset({0, 1})
    group.pass_time(2 * FIRST)
    group.claimed = frozenset({0, 2, 3})
    group.pass_time(4 * FIRST, since=2 * FIRST)
    group.claimed = frozenset(range(4))
    group.pass_time(100, since=4 * FIRST)
    assert group.joined == 0


def test_a_group_that_does_not_settle_is_asked_ever_more_seldom(group: Group) -> None:
    group.claimed = None
    group.pass_time(20 * LAST)
    assert group.joined == 0
    assert group.asked < 30


def test_who_has_no_name_looks_for_nothing(group: Group) -> None:
    group.orphans.begin((), 0.0)
    group.pass_time(100)
    assert group.asked == 0
