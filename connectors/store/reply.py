"""What a Redis server says instead of an answer: an outage of its own, or a mistake in what it was asked."""

from __future__ import annotations

from penstock.errors import PenstockError, Unavailable

# Said about the server's state rather than about the command: all of these pass.
OUTAGES = frozenset(
    {"BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOAUTH", "NOREPLICAS", "OOM", "READONLY", "TRYAGAIN"}
)


class ReplyError(PenstockError):
    """The server refused a command for what it says or for what a key holds. `code` is its first word.

    >>> ReplyError("WRONGTYPE Operation against a key holding the wrong kind of value").code
    'WRONGTYPE'
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = text.split(" ", 1)[0]


def failure(name: str, text: str) -> PenstockError:
    """The exception for an error reply of the dependency `name`.

    >>> failure("store", "LOADING Redis is loading the dataset in memory")
    Unavailable('store: LOADING Redis is loading the dataset in memory')
    """
    if text.split(" ", 1)[0] in OUTAGES:
        return Unavailable(name, text)
    return ReplyError(text)
