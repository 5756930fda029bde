"""A container engine: the one that runs, or one of our own for as long as it is needed."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.servers.tools import SEARCH, MissingTool, cache, program, say

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0


class CommandFailed(RuntimeError):
    """A command ended with an error; the message has its output."""


class Engine:
    """Runs `docker` and `docker compose` against one engine."""

    def __init__(self, host: str = "") -> None:
        self.environment = {**os.environ, **({"DOCKER_HOST": host} if host else {})}
        self.docker = program("docker", package="docker.io")
        self._compose: list[str] | None = None

    def run(self, *arguments: str, stdin: int | None = None) -> str:
        """Run `docker ARGUMENTS` and return what it printed. Raises `CommandFailed`."""
        return self._run([self.docker, *arguments], self.environment, stdin)

    def compose(self, *arguments: str, variables: dict[str, str] | None = None) -> str:
        """Run `docker compose ARGUMENTS` with these variables set. Raises `CommandFailed`."""
        if self._compose is None:
            self._compose = self._find_compose()
        return self._run([*self._compose, *arguments], {**self.environment, **(variables or {})})

    def answers(self) -> bool:
        """Whether the engine is there."""
        return self._succeeds([self.docker, "info"])

    def has(self, image: str) -> bool:
        """Whether an image of this name is on this machine."""
        return self._succeeds([self.docker, "image", "inspect", image])

    def _find_compose(self) -> list[str]:
        if self._succeeds([self.docker, "compose", "version"]):
            return [self.docker, "compose"]
        return [program("docker-compose", package="docker-compose")]

    def _succeeds(self, command: Sequence[str]) -> bool:
        return subprocess.run(command, env=self.environment, capture_output=True, check=False).returncode == 0

    def _run(self, command: Sequence[str], environment: dict[str, str], stdin: int | None = None) -> str:
        done = subprocess.run(
            command,
            env=environment,
            cwd=ROOT,
            stdin=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            raise CommandFailed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout


@contextmanager
def engine() -> Iterator[Engine]:
    """The engine of this machine; where none runs and we are root, one is started and stopped again."""
    found = Engine()
    if found.answers():
        yield found
        return
    if os.geteuid() != 0:
        raise MissingTool("no container engine answers. Start it with: sudo systemctl start docker")
    daemon = program("dockerd", package="docker.io")
    with tempfile.TemporaryDirectory(prefix="penstock-docker-") as folder:
        yield from _own(daemon, Path(folder))


def _own(daemon: str, folder: Path) -> Iterator[Engine]:
    say("no container engine runs; starting one")
    host = f"unix://{folder}/docker.sock"
    # Images stay in the cache, so that the next time is quick.
    places = ["--host", host, "--data-root", str(cache() / "docker")]
    command = [daemon, *places, "--pidfile", f"{folder}/pid", "--storage-driver", "overlay2"]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, "PATH": SEARCH}, start_new_session=True
        )
    try:
        ours = Engine(host)
        deadline = time.monotonic() + PATIENCE
        while not ours.answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise CommandFailed(f"dockerd does not start:\n{log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.2)
        yield ours
    finally:
        process.terminate()
        process.wait()
