"""The stack of `compose.yaml` as its user sees it from the host: commands, ports, topics."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tests.compose.engine import ROOT, CommandFailed, Engine
from tests.servers.port import HOST, free_port
from tests.servers.tools import program

PROJECT = "penstock-compose-test"
PATIENCE = 180.0


class Unmet(RuntimeError):
    """What should have happened did not; the message says what was waited for."""


class Stack:
    """One run of `compose.yaml`, on free ports, under a name of its own."""

    def __init__(self, docker: Engine) -> None:
        self.docker = docker
        self.ports = {name: free_port() for name in ("KAFKA", "MQTT", "REDIS", "HTTP", "ADMIN")}
        self.variables = {f"{name}_PORT": str(port) for name, port in self.ports.items()}
        self.kafka = f"{HOST}:{self.ports['KAFKA']}"
        # What a user exports to reach the stack from the host.
        self.environment = {
            **os.environ,
            "PENSTOCK_KAFKA": self.kafka,
            "PENSTOCK_MQTT": f"mqtt://{HOST}:{self.ports['MQTT']}",
            "PENSTOCK_STORE": f"redis://{HOST}:{self.ports['REDIS']}/0",
        }

    def up(self) -> None:
        """Build, train, and start everything but the producer."""
        self._compose("up", "--build", "--detach")

    def down(self) -> None:
        """Remove the stack with its data."""
        self._compose("--profile", "producer", "down", "--volumes", "--remove-orphans")

    def logs(self) -> str:
        """The last lines of every container."""
        return self._compose("--profile", "producer", "logs", "--no-color", "--tail", "60")

    def wait_until_ready(self) -> None:
        """Wait until the pipeline's container is healthy and `/readyz` says yes."""
        _eventually(
            "the pipeline's container is healthy", lambda: self._inspect("{{.State.Health.Status}}") == "healthy"
        )
        _eventually("/readyz says yes", lambda: self._admin("/readyz") is not None)

    def send_with_penstock(self, ids: Sequence[str]) -> None:
        """Push payments with our own command."""
        self._run([_penstock(), "send", "kafka:payments", "-"], _lines(ids))

    def send_with_kcat(self, ids: Sequence[str]) -> None:
        """Push plain JSON with a Kafka client that knows nothing of us."""
        self._run([_kcat(), "-P", "-b", self.kafka, "-t", "payments"], _lines(ids))

    def send_with_mosquitto(self, ids: Sequence[str]) -> None:
        """Push plain JSON to a terminal's topic; the terminal is named by the topic alone."""
        tool = program("mosquitto_pub", package="mosquitto-clients")
        where = ["-h", HOST, "-p", str(self.ports["MQTT"]), "-q", "1", "-t", "terminals/t-1/payments"]
        self._run([tool, *where, "-l"], _lines(ids, terminal=""))

    def send_with_curl(self, ids: Sequence[str]) -> None:
        """Push over HTTP, and look at the answer."""
        url = f"http://{HOST}:{self.ports['HTTP']}/payments"
        tool = [program("curl", package="curl"), "-sS", "--fail-with-body", "-H", "Content-Type: application/json"]
        for line in _lines(ids).splitlines():
            answer = json.loads(self._run([*tool, "--data-binary", line, url]))
            if not isinstance(answer, dict):
                raise Unmet(f"{url} answered {answer!r}, not a decision")

    def wait_for_decisions(self, ids: Sequence[str]) -> None:
        """Wait until `decisions` holds one for each of these payments."""

        def all_there() -> bool:
            decided = self._run([_kcat(), "-C", "-q", "-e", "-b", self.kafka, "-t", "decisions", "-o", "beginning"])
            return all(f'"{name}"' in decided for name in ids)

        _eventually(f"decisions on {ids[0]} to {ids[-1]}", all_there)

    def tail_with_penstock(self, count: int) -> None:
        """Read decisions with our own command."""
        lines = self._run([_penstock(), "tail", "kafka:decisions", "--earliest", "-n", str(count)])
        if len(lines.splitlines()) < count:
            raise Unmet(f"penstock tail gave {len(lines.splitlines())} lines of {count}:\n{lines}")

    def run_producer(self, at_least: int) -> int:
        """Start the producer and wait until that many more events have reached the pipeline."""
        before = self._events()
        self._compose("--profile", "producer", "up", "--detach", "--no-build", "producer")
        _eventually(f"{at_least} events of the producer", lambda: self._events() - before >= at_least)
        self._compose("--profile", "producer", "stop", "producer")
        return self._events() - before

    def stop_pipeline(self) -> None:
        """Stop the pipeline as an operator does, and require that it ended by itself with 0."""
        self._compose("stop", "pipeline")
        code = self._inspect("{{.State.ExitCode}}")
        if code != "0":
            raise Unmet(f"the pipeline ended with {code} when it was stopped")

    def _events(self) -> int:
        metrics = self._admin("/metrics") or ""
        return int(sum(float(value) for value in re.findall(r"^penstock_events_total(?:{.*})? (\S+)$", metrics, re.M)))

    def _admin(self, path: str) -> str | None:
        try:
            with urlopen(f"http://{HOST}:{self.ports['ADMIN']}{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except (URLError, OSError):
            return None

    def _inspect(self, field: str) -> str:
        container = self._compose("ps", "--all", "--quiet", "pipeline").strip()
        return self.docker.run("inspect", "--format", field, container).strip()

    def _compose(self, *arguments: str) -> str:
        return self.docker.compose("--project-name", PROJECT, *arguments, variables=self.variables)

    def _run(self, command: Sequence[str], stdin: str = "") -> str:
        done = subprocess.run(
            command,
            input=stdin,
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise CommandFailed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout


def _lines(ids: Sequence[str], *, terminal: str = "t-9") -> str:
    """Payments as JSON, one a line."""
    payments: list[dict[str, str | float]] = [
        {"id": name, "card": f"card-{number % 7}", "amount": 10.0 + number, "currency": "EUR"}
        for number, name in enumerate(ids)
    ]
    if terminal:
        payments = [{**payment, "terminal": terminal} for payment in payments]
    return "".join(json.dumps(payment) + "\n" for payment in payments)


def _penstock() -> str:
    return str(Path(sys.executable).with_name("penstock"))


def _kcat() -> str:
    return program("kcat", package="kcat")


def _eventually(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise Unmet(f"waited {PATIENCE:.0f} s in vain for: {what}")
        time.sleep(0.3)
