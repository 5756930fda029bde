"""The error tree, shared by every package.

PenstockError
├── DeclarationError    the pipeline as written cannot work; names the user's file and line
├── ConfigError         a setting is missing or wrong; names the setting
├── Unavailable         a dependency does not answer now and may later: an outage, never the event's fault
├── BadEvent            these bytes can never become the declared payload
├── Undeliverable       a sink refused this one action for good
└── NotPublished        a trained model was refused, and no version of it was written
"""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from types import FrameType

import msgspec

_HERE = f"{Path(__file__).parent}{os.sep}"


class Where(msgspec.Struct, frozen=True):
    """A place in the user's file.

    >>> print(Where("app.py", 7))
    app.py:7
    """

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def caller() -> Where | None:
    """The nearest line outside penstock: where the user wrote the call; None where it is nobody's but a library's."""
    frame = sys._getframe(1)
    while _is_ours(frame):
        if frame.f_back is None:
            return None
        frame = frame.f_back
    if frame.f_code.co_filename.startswith(_libraries()):
        return None
    return Where(frame.f_code.co_filename, frame.f_lineno)


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_HERE)


@cache
def _libraries() -> tuple[str, ...]:
    """Folders of code that is nobody's own."""
    import sysconfig  # read when a declaration is, not by everything that imports an error

    return tuple({f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "purelib", "platlib")})


class PenstockError(Exception):
    """Everything penstock raises on purpose."""


class DeclarationError(PenstockError):
    """A mistake in a pipeline's declaration, found before any event flows.

    `where` is the user's line, which the message begins with: the given one, else the line that called penstock.

    >>> print(DeclarationError("a stage has no name", Where("app.py", 7)))
    app.py:7: a stage has no name
    """

    def __init__(self, message: str, where: Where | None = None) -> None:
        self.message = message
        self.where = where or caller()
        super().__init__(f"{self.where}: {message}" if self.where is not None else message)


class ConfigError(PenstockError):
    """A setting that is missing or wrong. Commands print it as one line and exit with code 2."""


class Unavailable(PenstockError):
    """A server of ours does not answer: an outage. Nothing is dead-lettered for it; the work is tried again.

    `dependency` names what is down, as `/readyz` shows it.
    """

    def __init__(self, dependency: str, reason: str) -> None:
        super().__init__(f"{dependency}: {reason}")
        self.dependency = dependency
        self.reason = reason


class BadEvent(PenstockError):
    """Bytes that cannot become the declared payload, however often they are tried.

    `path` is the place inside the payload (`$.amount`) where one is known; `status` is the HTTP answer.
    """

    def __init__(self, reason: str, *, path: str = "", status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
        self.status = status


class Undeliverable(PenstockError):
    """A sink refused one action for good (too large, a 4xx answer): the event's own failure."""


class NotPublished(PenstockError):
    """A trained model was refused: it cannot be exported, or answers otherwise once it is. Nothing was written."""
