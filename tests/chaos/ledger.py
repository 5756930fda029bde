"""What was sent against what came out: every event is there, counted once, in order, and always under one id."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from tests.application.foreign import Record, kcat_consume
from tests.chaos.tally import Counted, Sale, Step


@dataclass(frozen=True)
class Ledger:
    """The topics that the program writes to, at a broker.

    `what` is printed with whatever is wrong: the seed, and where the logs are.
    """

    address: str
    topics: str
    what: str

    def missing(self, sent: Iterable[Step]) -> list[str]:
        """Ids of events, and of their parts, that nothing has come of yet."""
        counted = {msgspec.json.decode(one.value, type=Counted).id for one in self._read("counted")}
        sold = {msgspec.json.decode(one.value, type=Sale).id for one in self._read("sold")}
        lost = [step.id for step in sent if step.id not in counted]
        return lost + [id for step in sent for id in (f"{step.id}.0", f"{step.id}.1") if id not in sold]

    def check(
        self, sent: Sequence[Step], *, ordered: Sequence[str], forgot: bool = False, late: Container[str] = ()
    ) -> int:
        """All that is promised of these events, when they are all there; how many actions were repeated.

        `ordered` are the doors that promise an order, `late` the events that do not keep it: letters that were
        replayed. A store that `forgot` what it had answered counts in another order when the events come again; what
        was told last is what holds.
        """
        steps = {step.id: step for step in sent}
        counted = [(one, msgspec.json.decode(one.value, type=Counted)) for one in self._read("counted")]
        sold = [(one, msgspec.json.decode(one.value, type=Sale)) for one in self._read("sold")]
        asked = set(steps), {f"{id}.{part}" for id in steps for part in (0, 1)}
        assert ({one.id for _, one in counted}, {one.id for _, one in sold}) == asked, self.what
        self._same_each_time([(record, one.id, None if forgot else one) for record, one in counted])
        self._same_each_time([(record, one.id, None if forgot else one) for record, one in sold])
        self._exact({one.id: (one.key, one.count) for _, one in counted})
        self._exact({one.id: (str(one.shop), one.count) for _, one in sold})
        self._in_order([one for _, one in counted if one.id not in late], ordered)
        return len(counted) + len(sold) - len(steps) * 3

    def _read(self, topic: str) -> list[Record]:
        found = kcat_consume(self.address, f"{self.topics}{topic}")
        return sorted(found, key=lambda record: (record.partition, record.offset))

    def _same_each_time(self, actions: Sequence[tuple[Record, str, object]]) -> None:
        """An action that comes again has the id and the content that it had."""
        first: dict[str, tuple[str, object]] = {}
        for record, id, content in actions:
            told = record.headers["ce_id"], content
            assert first.setdefault(id, told) == told, f"{id} was {first[id]}, and then {told}: {self.what}"
        ids = {told[0] for told in first.values()}
        assert len(ids) == len(first), f"two events share an action's id: {self.what}"

    def _exact(self, counts: dict[str, tuple[str, int]]) -> None:
        """Of the events of one key each had a count of its own, and the last one is how many there were."""
        found: dict[str, list[int]] = defaultdict(list)
        for key, count in counts.values():
            found[key].append(count)
        wrong = {key: sorted(many) for key, many in found.items() if sorted(many) != list(range(1, len(many) + 1))}
        assert not wrong, f"not counted once each: {str(wrong)[:2000]}: {self.what}"

    def _in_order(self, actions: Sequence[Counted], doors: Sequence[str]) -> None:
        """First actions of every key come in the order of its events."""
        last: dict[str, int] = {}
        first: dict[str, Counted] = {}
        for one in actions:
            first.setdefault(one.id, one)
        for one in first.values():
            door, _, number = one.id.rpartition("-")
            if door in doors:
                before = last.get(one.key, -1)
                assert int(number) > before, f"{one.id} after {door}-{before} of key {one.key}: {self.what}"
                last[one.key] = int(number)
