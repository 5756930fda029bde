"""Progress of what takes more than a moment: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

AFTER = 1.0
"""Seconds after which there is something to show: what is over sooner needs no bar."""

EVERY = 5.0
"""Seconds between plain lines."""


class Bar:
    """A context manager that shows how far something has come, on standard error.

    `total` is in the unit of `add`; 0 where it is not known.
    """

    def __init__(self, what: str, total: float = 0) -> None:
        self.what = what
        self.total = total
        self.done = 0.0
        self._began = self._shown = time.monotonic()
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def add(self, amount: float, text: str = "") -> None:
        """So much more is done; `text` is what is shown beside it."""
        self.set(self.done + amount, self.total, text)

    def set(self, done: float, total: float, text: str = "") -> None:
        """So much of so much is done."""
        self.done, self.total = done, total
        now = time.monotonic()
        if now - self._began < AFTER:
            return
        if sys.stderr.isatty():
            self._draw(text)
        elif now - self._shown >= EVERY:
            self._shown = now
            share = f" {self.done / self.total:.0%}" if self.total else ""
            print(f"{self.what}{share} {text}".rstrip(), file=sys.stderr, flush=True)

    def _draw(self, text: str) -> None:
        if self._progress is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[text]}"),
            )
            self._progress = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True)
            self._progress.start()
            self._task = self._progress.add_task(self.what, total=self.total or None, text="")
        assert self._task is not None
        self._progress.update(self._task, completed=self.done, total=self.total or None, text=text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
