"""A training script while it runs: where it publishes to, whom it tells, what it has done."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import NamedTuple

from penstock.models.manifest import Version
from penstock.models.registry import Registry, open_registry

DEFAULT_REGISTRY = ".penstock/models"


class Progress(NamedTuple):
    """One line of news from a training script; where it counts, `done` of `steps`."""

    text: str
    done: int = 0
    steps: int = 0


def print_progress(progress: Progress) -> None:
    """News as a plain line on standard error."""
    counted = f"[{progress.done}/{progress.steps}] " if progress.steps else ""
    print(f"{counted}{progress.text}", file=sys.stderr, flush=True)


@dataclass(slots=True)
class Script:
    """What a script's calls use where they are not told otherwise, and what they have done.

    - `registry`: None for the one that `PENSTOCK_MODELS` names, else the folder `.penstock/models`.
    - `published`, `moves`: versions, and aliases moved to them, in order.
    """

    registry: Registry | None = None
    progress: Callable[[Progress], None] = print_progress
    published: list[Version] = field(default_factory=list)
    moves: list[tuple[Version, str]] = field(default_factory=list)

    def open(self, given: Registry | str | None) -> Registry:
        """The registry a call means."""
        if isinstance(given, str):
            return open_registry(given)
        return given or self.registry or open_registry(os.environ.get("PENSTOCK_MODELS") or DEFAULT_REGISTRY)


_CURRENT: ContextVar[Script] = ContextVar("penstock training script")


def current() -> Script:
    """The script that runs: the one of the innermost `running`, else Python's own."""
    script = _CURRENT.get(None)
    if script is None:
        script = Script()
        _CURRENT.set(script)
    return script


def report(text: str, done: int = 0, steps: int = 0) -> None:
    """Say what a training script is doing: a line on standard error, or in the progress of `penstock models train`."""
    current().progress(Progress(text, done, steps))


@contextmanager
def running(
    registry: Registry | str | None = None, progress: Callable[[Progress], None] = print_progress
) -> Iterator[Script]:
    """Within it, `publish`, `promote` and `report` use this registry and tell `progress` what they do."""
    opened = open_registry(registry) if isinstance(registry, str) else registry
    token = _CURRENT.set(Script(opened, progress))
    try:
        yield _CURRENT.get()
    finally:
        _CURRENT.reset(token)
