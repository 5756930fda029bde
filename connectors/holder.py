"""Names of processes by which others on the same machine can tell that one is gone."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path
from uuid import uuid4

_PROC = Path("/proc")


def name() -> str:
    """A new name for something that this process holds: the machine, the process, when it began, a random part.

    >>> gone(name())
    False
    """
    return f"{_machine()}/{os.getpid()}/{_began(os.getpid())}/{uuid4().hex}"


def gone(name: str) -> bool:
    """Whether the process of this name has ended. Only one of this machine can be seen to have; others may live.

    >>> gone("another-machine/1/0/x"), gone(name().replace(f"/{os.getpid()}/", "/999999999/"))
    (False, True)
    """
    machine, process, began, *rest = (name.rsplit("/", 3) + [""] * 3)[:4]
    if machine != _machine() or not process.isdigit() or not rest:
        return False
    try:
        return _began(int(process)) != began
    except ProcessLookupError:
        return True


@cache
def _machine() -> str:
    """This machine since it was started; a container is a machine of its own, since it numbers its processes itself."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}-{str((_PROC / 'self/ns/pid').readlink()).strip('pid:[]')}"
    except OSError:
        return socket.gethostname().replace("/", "-")


def _began(process: int) -> str:
    """When a process began, as the system counts. Raises `ProcessLookupError` where there is none."""
    try:
        # The second field is the program's name, which may hold anything: what is asked for stands well behind it.
        state, *fields = (_PROC / str(process) / "stat").read_text().rpartition(")")[2].split()
        return "" if state in "ZX" else fields[18]  # it has ended, and nobody has asked how
    except FileNotFoundError:
        if _PROC.is_dir():
            raise ProcessLookupError(process) from None
    with suppress(PermissionError):
        os.kill(process, 0)
    return "0"
