"""A place in a consumer group that outlives the process which holds it: what Kafka calls static membership.

A member that comes back under its name gets its partitions back at once; one without a name is waited for until its
session has timed out. Names must be unique, and the same after a restart. So each is that of the host and of a number,
the lowest whose lock file no living process holds: the system lets go of a lock however its process ends.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from hashlib import sha256
from pathlib import Path

MOST = 1000


class Seat:
    """A number that no other process of this host holds in a group, until `leave`.

    `name` is the member's name in the group; empty where the host has nowhere to keep locks, and then the member is an
    ordinary one.

    >>> first, second = Seat("doctest"), Seat("doctest")
    >>> first.name != second.name
    True
    >>> before = first.name
    >>> first.leave(); second.leave()
    >>> again = Seat("doctest")
    >>> again.name == before
    True
    >>> again.leave()
    """

    def __init__(self, group: str) -> None:
        self.name = ""
        self._file: int | None = None
        number = self._take(group)
        if number is not None:
            self.name = f"{socket.gethostname()}-{number}"

    def _take(self, group: str) -> int | None:
        try:
            import fcntl
        except ImportError:  # not on this system
            return None
        try:
            folder = Path(tempfile.gettempdir()) / f"penstock-{os.getuid()}-members"
            folder.mkdir(mode=0o700, exist_ok=True)
            if folder.lstat().st_uid != os.getuid():
                return None
            stem = sha256(group.encode()).hexdigest()[:24]
            for number in range(MOST):
                file = os.open(folder / f"{stem}-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    os.close(file)
                    continue
                self._file = file
                return number
        except OSError:
            # A file system that is read-only.
            return None
        return None

    def leave(self) -> None:
        """Let go of the number. Safe to call twice."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.close(self._file)
            self._file = None
