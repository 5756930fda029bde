"""How far back the events lie that were set aside, so that no guard forgets them."""

from __future__ import annotations


class Floors:
    """By origin, a place below all that was set aside of it and is not finished.

    It moves on when nothing of the origin is left, and not before: what is set aside is a lot at a time, and rare.

    >>> floors = Floors()
    >>> floors.hold("payments/3", "007"); floors.hold("payments/3", "008"); floors.let_go("payments/3")
    >>> floors.below("payments/3", "009"), floors.below("payments/4", "009")
    ('007', '009')
    """

    def __init__(self) -> None:
        self._held: dict[str, tuple[str, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._held)

    def hold(self, origin: str, place: str) -> None:
        """One event more lies there."""
        lowest, count = self._held.get(origin, (place, 0))
        self._held[origin] = (min(lowest, place), count + 1)

    def let_go(self, origin: str) -> None:
        """One of them is finished, or somebody else's."""
        lowest, count = self._held[origin]
        if count > 1:
            self._held[origin] = (lowest, count - 1)
        else:
            del self._held[origin]

    def below(self, origin: str, floor: str) -> str:
        """The source's floor, or a lower one."""
        held = self._held.get(origin)
        return floor if held is None else min(floor, held[0])
