"""What a figure was measured on, and how processes are kept from each other's way."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "aiohttp",
    "confluent-kafka",
    "hiredis",
    "kafka-python",
    "msgspec",
    "onnxruntime",
    "paho-mqtt",
    "redis",
    "uvloop",
)


def facts() -> dict[str, Any]:
    """The processor, its cores, the interpreter, the packages that matter, and how busy the machine was."""
    return {
        "processor": _processor(),
        "cores": len(cores()),
        "load": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def cores() -> list[int]:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


_ALL = cores()


def pin(process: int, *, measured: bool) -> None:
    """Keep a process, with all its threads, to its side of the machine.

    What is measured gets the first core, all else (servers, load generators) the others. With one core, or where the
    system has no such call, nothing is pinned.
    """
    if len(_ALL) < 2 or not hasattr(os, "sched_setaffinity"):
        return
    wanted = set(_ALL[:1]) if measured else set(_ALL[1:])
    tasks = Path(f"/proc/{process}/task")
    numbers = [int(task.name) for task in tasks.iterdir()] if process and tasks.is_dir() else [process]
    for number in numbers:
        os.sched_setaffinity(number, wanted)


@contextmanager
def first_core() -> Iterator[None]:
    """Run the block on the first core, which `pin(..., measured=False)` leaves free."""
    pin(0, measured=True)
    try:
        yield
    finally:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, _ALL)


def placement() -> str:
    """How processes were placed, for the notes of a report."""
    if len(_ALL) < 2:
        return "one core: everything shares it"
    return f"{len(_ALL)} cores: what is measured has the first, servers and load generators share the rest"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
