"""Programs of their own processes: those that are measured end by themselves and say what they did."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import pin

ROOT = Path(__file__).parents[1]


class Failed(RuntimeError):
    """A child ended without a result; the message ends with what it said."""


@dataclass(frozen=True)
class Program:
    """A command with its environment: `python` runs a module of the project, or a file."""

    command: tuple[str, ...]
    variables: Mapping[str, str]

    @classmethod
    def module(cls, name: str, variables: Mapping[str, str], *arguments: str) -> Program:
        """A module of the project, by this interpreter."""
        return cls((sys.executable, "-m", name, *arguments), variables)

    @classmethod
    def file(cls, python: Path, path: Path, variables: Mapping[str, str], *arguments: str) -> Program:
        """A file, by another interpreter."""
        return cls((str(python), str(path), *arguments), variables)

    def start(self, **options: Any) -> subprocess.Popen[str]:
        """Start it in a session of its own, in the project's folder."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **self.variables}
        if "PYTHONPATH" in os.environ:
            environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{os.environ['PYTHONPATH']}"
        return subprocess.Popen(self.command, cwd=ROOT, env=environment, text=True, start_new_session=True, **options)

    def result(self, patience: float, *, apart: bool = False) -> dict[str, Any]:
        """Run it to its end, and read the JSON object that its last line of output is. Raises `Failed`.

        With `apart` it stays off the core of what is measured.
        """
        process = self.start(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if apart:
            pin(process.pid, measured=False)
        try:
            out, err = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            end(process)
            out, err = process.communicate()
            raise Failed(f"{self} did not end within {patience:.0f} s:\n{_tail(out, err)}") from None
        except BaseException:
            end(process)
            raise
        found = next((line for line in reversed(out.splitlines()) if line.startswith("{")), None)
        if found is None:
            raise Failed(f"{self} ended with exit code {process.returncode} and no result:\n{_tail(out, err)}")
        answer: dict[str, Any] = json.loads(found)
        return answer

    @contextmanager
    def serving(self, patience: float = 60.0) -> Iterator[subprocess.Popen[str]]:
        """Have it run, from the line `ready` that it prints; it is asked to end, and ended, with the block."""
        with tempfile.TemporaryFile("w+") as errors:
            process = self.start(stdout=subprocess.PIPE, stderr=errors)
            timer = threading.Timer(patience, end, (process,))
            timer.start()
            try:
                assert process.stdout is not None
                if not any(line.strip() == "ready" for line in process.stdout):
                    errors.seek(0)
                    raise Failed(f"{self} did not become ready:\n{_tail('', errors.read())}")
                timer.cancel()
                yield process
                stop(process)
            finally:
                timer.cancel()
                end(process)

    def __str__(self) -> str:
        return " ".join(Path(part).name if os.sep in part else part for part in self.command)


def stop(process: subprocess.Popen[str], patience: float = 30.0) -> None:
    """Ask a child to end, and wait until it has. Raises `subprocess.TimeoutExpired`."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(patience)


def end(process: subprocess.Popen[str]) -> None:
    """End a child and what it started, at once."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _tail(out: Sequence[str] | str, err: Sequence[str] | str) -> str:
    return f"{out}{err}"[-3000:]
