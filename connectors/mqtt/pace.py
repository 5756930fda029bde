"""How many messages are under way at once, and which one a broker ends the connection over."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")

MOST = 1000
"""Messages that wait for the broker's answer at most, fewer where it allows fewer."""

SAID, UNSAID = 2, 5
"""How often a message ends the connection, alone on a new one, until it is guilty: where the broker says why, and where
it hangs up without a word, as a bad network does too."""

SOON = 1.0
"""Seconds within which a broker that says nothing hangs up over a message; a network takes its own time."""

PASSING = frozenset({0x00, 0x04, 0x89, 0x8B, 0x8D, 0x8E, 0x96, 0x97, 0x98, 0x9C, 0x9D, 0x9F, 0xA0})
"""Reasons for ending a connection that are no message's fault: busy, shutting down, taken over, and the like."""


class Pace:
    """Slows down after each lost connection to one message, and doubles with each answer.

    Some brokers end the connection over a message they do not like (Mosquitto, over a topic of more than 200 levels)
    and do not say over which one. Sent again in front of everything else, it would end each connection to come. So the
    first message of a new connection goes alone. Those that are answered are innocent; one that ends connection after
    connection in which there was nothing but it is guilty.

    >>> pace = Pace()
    >>> pace.limit
    1000
    >>> pace.ended(["a", "b"], sent=2, reason=0x82, seconds=60.0), pace.limit
    (None, 1)
    >>> pace.ended(["a"], sent=1, reason=0x82, seconds=0.1)
    >>> pace.ended(["a"], sent=1, reason=0x82, seconds=0.1)
    'a'
    """

    __slots__ = ("_accused", "_times", "limit")

    def __init__(self) -> None:
        self.limit = MOST
        self._accused: object = None
        self._times = 0

    def answered(self) -> None:
        """The broker has answered a message."""
        self._accused = None
        self.limit = min(self.limit * 2, MOST)

    def ended(self, flying: list[T], *, sent: int, reason: int | None, seconds: float) -> T | None:
        """A connection is over; the message that is guilty of it, if one is.

        Of `sent` messages those in `flying` were not answered. The broker gave this `reason`, 0 where it hung up
        without one, None where it was not the broker that ended it, `seconds` after it had begun.
        """
        alone = self.limit == 1 and sent == len(flying) == 1
        self.limit = 1
        if not alone or reason is None or (reason in PASSING if reason else seconds > SOON):
            return None
        [message] = flying
        if message is not self._accused:
            self._accused, self._times = message, 0
        self._times += 1
        if self._times < (SAID if reason else UNSAID):
            return None
        self._accused = None
        return message
