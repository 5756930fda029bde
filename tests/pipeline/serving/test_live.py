"""The table on a terminal."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Iterator

from rich.console import Console, ConsoleOptions

from penstock.pipeline.serving.live import Live


class Watched:
    """Something to draw that knows who draws it."""

    def __init__(self) -> None:
        self.drawn = threading.Event()
        self.threads: set[threading.Thread] = set()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[str]:
        self.threads.add(threading.current_thread())
        self.drawn.set()
        yield "watched"


async def test_it_is_drawn_beside_the_event_loop() -> None:
    """No event waits for it."""
    screen, watched = io.StringIO(), Watched()
    console = Console(file=screen, force_terminal=True, width=80, height=24)
    live = asyncio.ensure_future(Live([], console, above=lambda width, lines: [watched]).run())
    await asyncio.to_thread(watched.drawn.wait)
    drawn_by = set(watched.threads)
    live.cancel()
    await asyncio.wait([live])
    assert live.cancelled()
    assert "watched" in screen.getvalue()
    assert threading.main_thread() not in drawn_by
