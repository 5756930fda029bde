"""Several worker processes that share the load of one machine, and the parent that keeps them running."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from penstock.connectors import Settings
from penstock.errors import ConfigError
from penstock.pipeline.engine.confinement import running
from penstock.pipeline.engine.suspects import Suspects
from penstock.pipeline.graph import Graph
from penstock.pipeline.serving.admin import Admin, View
from penstock.pipeline.serving.exposition import labelled, page

log = logging.getLogger("penstock")

WORKER = "PENSTOCK_WORKER"
"""In a worker's environment: its number. Its admin port is then a Unix socket that the parent asks."""

FOLDER = "PENSTOCK_WORKER_FOLDER"
"""In a worker's environment: where its parent and it leave each other notes."""

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
STEADY = 30.0
"""Seconds after which a worker counts as having started well."""

WRONG = 2
"""The exit code of a wrong setting: starting again would change nothing."""

OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP)
"""Deaths that somebody else has willed (an operator, the kernel that runs out of memory): they accuse no event."""

LOOK = b"\n"
"""Written to a worker: there are new orders."""


class Child:
    """One worker: its process, the socket where it tells how it is, and the file that says what it had started."""

    def __init__(self, number: int, folder: Path) -> None:
        self.number = number
        self.socket = folder / f"worker-{number}.sock"
        self.started = started(folder, number)
        self.process: asyncio.subprocess.Process | None = None
        self.delay = FIRST_DELAY
        self.over = False

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.returncode is None


class Workers:
    """Runs `count` children of one command, and replaces one that dies.

    The children read from a pipe that this process holds: they drain and leave when it is gone, however it went. A
    worker that dies of itself was ended by an event, which is looked for (`suspects`, `confinement`). The admin port
    is this process's own: ready when all workers are, with the metrics of all.
    """

    def __init__(self, command: Sequence[str], settings: Settings) -> None:
        self.command = command
        self.settings = settings
        self.folder = Path(tempfile.mkdtemp(prefix="penstock-"))
        count = settings.process.workers
        self.children = [Child(number, self.folder) for number in range(count)]
        self.suspects = Suspects()
        self.admin = Admin(View(self.problems, self.metrics), settings.process.admin_listen)
        self._stopping = asyncio.Event()
        self._wrong: ConfigError | None = None

    async def run(self) -> None:
        """Until a signal stops the workers, or each has ended. Raises `ConfigError` where a setting is wrong."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        await self.admin.open()
        try:
            await asyncio.gather(*(self._keep(child) for child in self.children))
        finally:
            self._signal(signal.SIGKILL)
            await self.admin.close()
            shutil.rmtree(self.folder, ignore_errors=True)
        if self._wrong is not None:
            raise self._wrong

    def stop(self) -> None:
        """Let every worker drain and end. From the second call on, end them at once."""
        if self._stopping.is_set():
            log.warning("ended at once: what was in flight comes again at the next start")
            self._signal(signal.SIGKILL)
            os._exit(1)
        count = len(self.children)
        log.info("stopping %s (a second signal ends at once)", "the worker" if count == 1 else f"{count} workers")
        self._stopping.set()
        self._signal(signal.SIGTERM)

    async def _keep(self, child: Child) -> None:
        """Start a worker, and start it again whenever it has died."""
        while not self._stopping.is_set():
            began = time.monotonic()
            code = await self._once(child)
            # A worker that leaves in good order takes this file along; exit codes are not to be trusted, since any
            # native code may end the process with one.
            died = child.started.exists()
            if self._stopping.is_set() or (code == 0 and not died):
                break
            if code == WRONG and not died:
                self._wrong = ConfigError(f"worker {child.number} could not start; it says above why")
                self._stopping.set()
                self._signal(signal.SIGTERM)
                break
            verdict = self._judge(child, _how(code)) if died and code not in OUTSIDE else ""
            if time.monotonic() - began > STEADY:
                child.delay = FIRST_DELAY
            log.error(
                "worker %d ended (%s): %sstarting it again in %.1f s", child.number, _how(code), verdict, child.delay
            )
            await self._pause(child)
        child.over = True

    def _judge(self, child: Child, how: str) -> str:
        """A worker has died of itself: find out which event it was, with the help of all workers."""
        found = running(child.started)
        if found:
            child.delay = FIRST_DELAY  # it will not go on for ever: every death narrows the search
        verdict = self.suspects.judge(found, how)
        self.suspects.orders.write(orders(self.folder))
        for other in self.children:
            if other.running and other.process is not None and other.process.stdin is not None:
                other.process.stdin.write(LOOK)
        return f"{verdict}; "

    async def _once(self, child: Child) -> int:
        environment = {
            **os.environ,
            WORKER: str(child.number),
            FOLDER: str(self.folder),
            "PENSTOCK_ADMIN_LISTEN": str(child.socket),
        }
        child.started.unlink(missing_ok=True)
        # A session of its own: Ctrl-C reaches this process alone, which passes it on once.
        child.process = await asyncio.create_subprocess_exec(
            *self.command, env=environment, stdin=asyncio.subprocess.PIPE, start_new_session=True
        )
        if self._stopping.is_set():
            child.process.terminate()
        return await child.process.wait()

    async def _pause(self, child: Child) -> None:
        delay, child.delay = child.delay, min(child.delay * 2, LONGEST_DELAY)
        try:
            await asyncio.wait_for(self._stopping.wait(), delay)
        except TimeoutError:
            return

    def _signal(self, number: signal.Signals) -> None:
        for child in self.children:
            if child.running and child.process is not None:
                child.process.send_signal(number)

    # -- seen from outside ---------------------------------------------------------------------------------------

    async def problems(self) -> list[str]:
        """What keeps any worker from being ready."""
        answers = await asyncio.gather(*(self._ask(child, "/readyz") for child in self.children))
        found: list[str] = []
        for child, answer in zip(self.children, answers, strict=True):
            if answer is None:
                found.append(f"worker {child.number}: {'starting' if child.running else 'not running'}")
            elif answer[0] != 200:
                found += [f"worker {child.number}: {line}" for line in answer[1].splitlines()]
        return found

    async def metrics(self) -> bytes:
        """The metrics of every worker that answers, each sample with the label `worker`."""
        answers = await asyncio.gather(*(self._ask(child, "/metrics") for child in self.children))
        pages = {child.number: answer[1] for child, answer in zip(self.children, answers, strict=True) if answer}
        return page(labelled(pages))

    async def _ask(self, child: Child, path: str) -> tuple[int, str] | None:
        import aiohttp

        if not child.running:
            return None
        timeout = aiohttp.ClientTimeout(total=2.0)
        try:
            async with (
                aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(child.socket)), timeout=timeout) as session,
                session.get(f"http://worker{path}") as answer,
            ):
                return answer.status, await answer.text()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def started(folder: Path, number: int) -> Path:
    """The file of a worker that says what it has started; there from its first breath until it leaves in order."""
    return folder / f"worker-{number}.started"


def orders(folder: Path) -> Path:
    """The file that says what workers are to do about events that may end them."""
    return folder / "orders"


def attend(look: Callable[[], None], orphaned: Callable[[], None]) -> None:
    """In a worker: have this called when the parent has new orders, and when it is gone, however it went."""
    loop = asyncio.get_running_loop()
    descriptor = sys.stdin.fileno()

    def read() -> None:
        if os.read(descriptor, 64):
            look()
            return
        loop.remove_reader(descriptor)
        log.warning("the parent process is gone")
        orphaned()

    loop.add_reader(descriptor, read)


def warn_of_order(graph: Graph) -> None:
    """Say where several workers cannot keep the order that a pipeline asks for."""
    if graph.order != "key":
        return
    for source in graph.sources:
        for endpoint in source.endpoints:
            technology = endpoint.address.partition(":")[0]
            if technology in ("http", "mqtt") and not getattr(endpoint, "durable", False):
                log.warning(
                    "%s: %s has no partitions, so several workers take its events of one key side by side, in no "
                    "common order; run one worker, or declare order='none'",
                    source.where,
                    endpoint.address,
                )
