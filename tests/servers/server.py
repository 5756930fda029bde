"""What all servers have in common: a process, a port, a folder, and a guard."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.servers.port import free_port

PATIENCE = 60.0

# Waits on its standard input, which ends when the process that holds the other end is gone, however it went.
GUARD = 'read -r _; kill -9 "$1" 2>/dev/null; rm -rf "$2"'


class ServerFailed(RuntimeError):
    """A server ended instead of starting, or did not answer in time; the message ends with its log."""


class Server:
    """One real server of our own, that can be stopped, killed and started again on the same port and data.

    A context manager: started on entry, gone without a trace on exit. Also gone when the process that made it
    ends without saying so. `settings` are added to the server's own configuration file, in its own language.
    """

    name = "server"

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self.settings = dict(settings or {})
        self.folder = Path(tempfile.mkdtemp(prefix=f"penstock-{self.name}-"))
        self.log = self.folder / f"{self.name}.log"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """How a client names this server."""
        raise NotImplementedError

    def command(self) -> Sequence[str]:
        """The command that runs the server in the foreground; also writes the configuration."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Whether the server answers a real request."""
        raise NotImplementedError

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._process is None or not self.running:
            raise ServerFailed(f"{self.name} is not running")
        return self._process.pid

    def start(self) -> Self:
        """Start, and wait until the server answers. Raises `ServerFailed` with its log where it does not."""
        self.launch()
        deadline = time.monotonic() + PATIENCE
        while not self.ready():
            if not self.running or time.monotonic() > deadline:
                problem = "does not answer" if self.running else "ended at once"
                self.kill()
                raise ServerFailed(f"{self.name} on port {self.port} {problem}:\n{self._tail()}")
            time.sleep(0.02)
        return self

    def launch(self) -> None:
        """Start without waiting, for what must cope with a server that is still on its way."""
        if self.running:
            raise ServerFailed(f"{self.name} is running already")
        command = self.command()
        with self.log.open("ab") as log:
            # A session of its own, so that Ctrl-C reaches the tests first and they end in order.
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, start_new_session=True)
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "guard", str(self._process.pid), str(self.folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def stop(self) -> None:
        """Ask the server to end, and wait until it has. Nothing happens where it is not running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server as `kill -9` does. Nothing happens where it is not running."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze the server: connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """End the server and remove its folder. Safe to call twice."""
        self.kill()
        subprocess.run(["rm", "-rf", str(self.folder)], check=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def _end(self, how: signal.Signals) -> None:
        process, guard = self._process, self._guard
        if process is None or guard is None:
            return
        if process.poll() is None:
            process.send_signal(how)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        guard.kill()
        guard.communicate()
        self._process = self._guard = None

    def _tail(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-40:])
