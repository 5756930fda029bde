"""`penstock` commands as real processes, in a folder of their own."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from unittest.mock import patch

from penstock.pipeline.cli import main
from tests.servers.port import free_port

PATIENCE = 120.0
"""Seconds that only a failure takes, on a machine that is busy too."""

COMMAND = [sys.executable, "-m", "penstock.pipeline.cli"]


def environment(**settings: str) -> dict[str, str]:
    """This process's environment with these settings and no other of penstock's, on free ports."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    ports = {name: f"127.0.0.1:{free_port()}" for name in ("PENSTOCK_HTTP_LISTEN", "PENSTOCK_ADMIN_LISTEN")}
    # The servers that tests share need not survive a power cut.
    return {**kept, "NO_COLOR": "1", "PENSTOCK_DURABILITY": "memory", **ports, **settings}


def run(
    *arguments: str, folder: Path, settings: Mapping[str, str] | None = None, given: str | bytes = b""
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(**(settings or {})),
        input=given.encode() if isinstance(given, str) else given,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def ask(
    *arguments: str, folder: Path, settings: Mapping[str, str] | None = None, given: str | bytes = b""
) -> subprocess.CompletedProcess[str]:
    """What `run` gives, without a process of its own: for commands that look something up and leave."""
    assert arguments[0] not in ("run", "dev") or "--help" in arguments, "these set logging up for the whole process"
    given = given.encode() if isinstance(given, str) else given
    read, out, err = (io.TextIOWrapper(io.BytesIO(some), encoding="utf-8") for some in (given, b"", b""))
    modules, code = set(sys.modules), 0
    with (
        contextlib.chdir(folder),
        patch.dict(os.environ, environment(**(settings or {})), clear=True),
        patch.multiple(sys, argv=["penstock", *arguments], path=list(sys.path), stdin=read, stdout=out, stderr=err),
    ):
        try:
            main()
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else int(left.code is not None)
    for name in set(sys.modules) - modules:
        # The user's own, of which the next test has others under the same name.
        if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(folder):
            del sys.modules[name]
    said = []
    for stream in (out, err):
        stream.flush()
        assert isinstance(stream.buffer, io.BytesIO)
        said.append(stream.buffer.getvalue().decode())
    return subprocess.CompletedProcess(list(arguments), code, *said)


class Running:
    """A command at work: a context manager that ends it with SIGKILL if the test has not ended it."""

    def __init__(
        self,
        *arguments: str,
        folder: Path,
        settings: Mapping[str, str] | None = None,
        command: list[str] | None = None,
    ) -> None:
        self.environment = environment(**(settings or {}))
        self.output = folder / f"output-{time.monotonic_ns()}.log"
        self._file = self.output.open("wb")
        self.process = subprocess.Popen(
            [*(command or COMMAND), *arguments],
            cwd=folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=self._file,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.kill()
        self._file.close()

    @property
    def text(self) -> str:
        """Everything it has said, on standard output and standard error."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    def url(self, path: str, *, admin: bool = False) -> str:
        """A path on its HTTP or admin port."""
        return f"http://{self.environment['PENSTOCK_ADMIN_LISTEN' if admin else 'PENSTOCK_HTTP_LISTEN']}{path}"

    def until(self, done: Callable[[], bool], what: str) -> None:
        """Wait until a condition holds. Fails with what the process said where it does not, or ended."""
        deadline = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < deadline, f"{what}: not within {PATIENCE:.0f} s\n{self.text}"
            assert self.process.poll() is None or done(), f"{what}: it ended before\n{self.text}"
            time.sleep(0.02)

    def says(self, text: str) -> None:
        """Wait until it has said this."""
        self.until(lambda: text in self.text, f"waiting for {text!r}")

    def ready(self) -> Self:
        """Wait until `/readyz` answers 200."""
        self.until(lambda: get(self.url("/readyz", admin=True))[0] == 200, "waiting for /readyz")
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """End it as `kill -9` does."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def get(url: str) -> tuple[int, str]:
    """Status and body of a GET; status 0 where nobody answers."""
    return fetch(urllib.request.Request(url))


def post(url: str, body: str, **headers: str) -> tuple[int, str]:
    """Status and body of a POST of JSON; status 0 where nobody answers."""
    return fetch(urllib.request.Request(url, body.encode(), {"Content-Type": "application/json", **headers}))


def fetch(request: urllib.request.Request) -> tuple[int, str]:
    """Status and body of a request; status 0 where nobody answers."""
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return 0, ""


ORDERS = """
from __future__ import annotations

from msgspec import Struct

from penstock import Pipeline, Reject
from penstock.connectors import Http, Kafka, Mqtt, Reply


class Order(Struct, frozen=True):
    id: str
    customer: str
    amount: float


def priced(order: Order) -> Order:
    if order.amount < 0:
        raise Reject("a negative amount")
    return Order(order.id, order.customer, order.amount * 2)


def confirm(order: Order) -> Order:
    return order
"""

HTTP_APP = (
    ORDERS
    + """
orders = Pipeline("NAME")
orders.source(Http("/NAME"), schema=Order, key="customer", id="id").transform(priced).act(confirm, to=Reply())
"""
)

TOPICS_APP = (
    ORDERS
    + """
orders = Pipeline("orders")
orders.source(
    Kafka("orders"), Mqtt("shops/{customer}/orders"), schema=Order, key="customer", id="id"
).transform(priced).act(confirm, to=[Kafka("confirmed"), Mqtt("confirmed/{customer}")])
"""
)


def http_app(folder: Path, name: str = "orders") -> str:
    """Write an app that answers orders over HTTP; its file's name."""
    (folder / f"{name}.py").write_text(HTTP_APP.replace("NAME", name))
    return f"{name}.py"


def topics_app(folder: Path) -> str:
    """Write an app that reads a Kafka and an MQTT topic and confirms to both; its file's name."""
    (folder / "orders.py").write_text(TOPICS_APP)
    return "orders.py"
