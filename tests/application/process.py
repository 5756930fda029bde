"""`penstock run` as a real process, looked at through its admin port alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.servers.port import HOST, free_port

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).parent / "fraud.py"
PATIENCE = 60.0
PENSTOCK = (sys.executable, "-m", "penstock.pipeline.cli")


def until(condition: Callable[[], object], what: str | Callable[[], str], *, patience: float = PATIENCE) -> None:
    """Wait until something outside is so. Fails with `what` when it never is."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            said = what if isinstance(what, str) else what()
            raise AssertionError(f"not so after {patience:.0f} s: {said}")
        time.sleep(0.05)


def command(*arguments: str, variables: Mapping[str, str], folder: Path, code: int = 0) -> str:
    """Run `penstock ARGUMENTS`, which must end with this code, and return what it printed on standard output."""
    done = subprocess.run(
        [*PENSTOCK, *arguments],
        env={**_environment(), **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == code, f"penstock {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


class Process:
    """One run of a program at a time: started, looked at, stopped, killed, started again at the same ports."""

    def __init__(self, folder: Path, variables: Mapping[str, str], program: Path = PROGRAM) -> None:
        self.folder = folder
        self.program = program
        self.http, self.admin = f"{HOST}:{free_port()}", f"{HOST}:{free_port()}"
        self.variables = {
            "PENSTOCK_HTTP_LISTEN": self.http,
            "PENSTOCK_ADMIN_LISTEN": self.admin,
            "COLUMNS": "500",
            **variables,
        }
        self.log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> Self:
        """Start, and wait until it says that it is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*PENSTOCK, "run", str(self.program)],
                env={**_environment(), **self.variables},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if wait:
            self.ready()
        return self

    def ready(self, *, patience: float = PATIENCE) -> None:
        """Wait until `/readyz` says so."""

        def answers() -> bool:
            assert self.running, f"the program has ended:\n{self.tail()}"
            return self.get("/readyz")[0] == 200

        until(answers, lambda: f"ready: {self.get('/readyz')}\n{self.tail()}", patience=patience)

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page of the admin port; status 0 where nobody listens."""
        try:
            with urllib.request.urlopen(f"http://{self.admin}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metrics(self) -> dict[str, float]:
        """The counts of the metrics page, summed over their labels but the name: `events`, `actions kafka:t`."""
        found: dict[str, float] = defaultdict(float)
        for sample in self.samples():
            short = sample.name.removeprefix("penstock_").removesuffix("_total")
            found[short] += sample.value
            if "name" in sample.labels:
                found[f"{short} {sample.labels['name']}"] += sample.value
        return found

    def samples(self) -> list[Sample]:
        """The metrics page as it is."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        return [sample for family in families for sample in family.samples]

    @property
    def pipeline(self) -> str:
        """The name of its pipeline, as the store knows it."""
        return f"{self.variables['PENSTOCK_NAMESPACE']}.card-fraud"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.signal(signal.SIGTERM)
        assert self._process is not None
        return self._process.wait(PATIENCE)

    def kill(self) -> None:
        """End it as `kill -9` does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def dead(self) -> list[str]:
        """The letters as `penstock dead list --no-group` shows them, a line each."""
        asked = ("dead", "list", "--no-group", "--limit", "1000", "--pipeline", self.pipeline)
        return command(*asked, variables=self.variables, folder=self.folder).splitlines()[1:]

    def tail(self, lines: int = 60) -> str:
        """The end of what it logged."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


def _environment() -> dict[str, str]:
    """Ours, without settings that somebody has made for other runs, and with this tree to import, tests included."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    # The servers that tests share need not survive a power cut.
    return {**kept, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PENSTOCK_DURABILITY": "memory"}


def lines(many: Sequence[str]) -> bytes:
    """Lines as a foreign client reads them."""
    return "".join(f"{one}\n" for one in many).encode()
