"""What the process says while it runs: lines for people, or JSON for machines, on standard error."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from rich.console import Console

Style = Literal["human", "json"]

_LOUD = ("aiohttp", "asyncio", "concurrent", "kafka", "paho", "urllib3")
"""Libraries that tell their life story at INFO."""

_REPEATING = ("kafka",)
"""Libraries that tell of an outage with every attempt, many times a second; the connector says it once."""

_COLOURS = {logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31;1"}


class Human(logging.Formatter):
    """`14:03:12  waiting for store: ...`; the level only where it is more than information."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__(datefmt="%H:%M:%S")
        self.colour = colour

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelname.lower()
        mark = "" if record.levelno <= logging.INFO else f"{level}: "
        if self.colour and record.levelno in _COLOURS:
            mark = f"\x1b[{_COLOURS[record.levelno]}m{level}\x1b[0m "
        name = "" if record.name.startswith("penstock") else f"{record.name}: "
        text = f"{self.formatTime(record, self.datefmt)}  {mark}{name}{record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class Json(logging.Formatter):
    """One JSON object a line: `time` (ISO 8601, UTC), `level`, `logger`, `message`, and `error` with its traceback.

    What a caller gave as `extra=` is beside them.
    """

    def format(self, record: logging.LogRecord) -> str:
        from datetime import UTC, datetime

        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        line |= {name: value for name, value in vars(record).items() if name not in _PLAIN and name not in line}
        return msgspec.json.encode(line, enc_hook=repr).decode()


_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class OnConsole(logging.Handler):
    """Lines above a live display, in place of standard error."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        from rich.text import Text

        try:
            self.console.print(Text.from_ansi(self.format(record)), soft_wrap=True)
        except Exception:
            self.handleError(record)


def set_up(style: Style = "human", *, console: Console | None = None, terse: bool = False) -> None:
    """Send every logger's lines to standard error, or above the live display of `console`.

    `terse` leaves out what a connector says while everything goes well.
    """
    handler: logging.Handler = logging.StreamHandler(sys.stderr) if console is None else OnConsole(console)
    colour = console is not None or sys.stderr.isatty()
    handler.setFormatter(Json() if style == "json" else Human(colour=colour))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _REPEATING:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if terse:
        for name in ("kafka", "mqtt", "redis"):
            logging.getLogger(f"penstock.{name}").setLevel(logging.WARNING)
