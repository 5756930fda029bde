"""Finding the programs that the servers are, installing them where that is possible."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

# Debian puts daemons where an ordinary user's PATH does not look.
SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])


# Lets what is printed within it be seen; a test run that captures output puts its own way of doing so here.
uncaptured: Callable[[], AbstractContextManager[None]] = nullcontext


class MissingTool(RuntimeError):
    """A program is not there and could not be installed; the message is the command that installs it."""


def program(name: str, *, package: str) -> str:
    """The path of a program, installed from its Debian package first where this user may do that."""
    found = shutil.which(name, path=SEARCH)
    if found is None and _may_install():
        with locked("apt"):
            found = shutil.which(name, path=SEARCH) or _install(name, package)
    if found is None:
        raise MissingTool(f"{name} is not installed. Install it with: sudo apt-get install {package}")
    return found


def cache() -> Path:
    """The folder of things worth fetching once per machine. It may be deleted at any time."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(root) / "penstock"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock of this name among all processes of this user."""
    with (cache() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def say(line: str) -> None:
    """Tell the person who waits what is going on."""
    with uncaptured():
        print(f"penstock tests: {line}", file=sys.stderr, flush=True)


def _may_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def _install(name: str, package: str) -> str | None:
    say(f"{name} is not there; installing the package {package}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", package],
    ):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingTool(f"apt-get install {package} failed:\n{done.stdout}{done.stderr}")
    return shutil.which(name, path=SEARCH)
