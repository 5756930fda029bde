"""Rates and latencies before one's eyes: a live table on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from penstock.pipeline.serving.meter import Flow, Latency, Meter, Reading

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live as Display

    from penstock.pipeline.engine.engine import Engine

log = logging.getLogger("penstock")

EVERY = 1.0
PLAIN_EVERY = 5.0


class Live:
    """Shows engines at work until it is cancelled. `console` is where the table is drawn; None writes log lines.

    What is drawn fits the window, for nothing below its edge is seen. `above` is called each time for what is shown
    above the pipelines' own tables, with the columns there are and the lines that it may take, half of the window.
    `shown` is what was drawn last.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        console: Console | None,
        *,
        above: Callable[[int, int], Iterable[RenderableType]] = lambda width, lines: (),
    ) -> None:
        self.meters = [Meter(engine) for engine in engines]
        self.console = console
        self.above = above
        self.shown: RenderableType = ""
        self._began = time.monotonic()

    async def run(self) -> None:
        """Draw about every second, until cancelled."""
        if self.console is None:
            await self._lines()
            return
        from rich.live import Live as Display

        with Display("", console=self.console, auto_refresh=False) as display:
            while True:
                await self._draw(self.console, display)
                await asyncio.sleep(EVERY)

    async def _draw(self, console: Console, display: Display) -> None:
        """Once, in a thread: it takes tens of milliseconds, for which every event would wait."""
        readings = [meter.read() for meter in self.meters]
        above = list(self.above(console.width, console.height // 2))

        def draw() -> None:
            self.shown = self._drawn(console, readings, above)
            display.update(self.shown, refresh=True)

        drawing = asyncio.ensure_future(asyncio.to_thread(draw))
        try:
            await asyncio.shield(drawing)
        finally:
            await asyncio.wait([drawing])  # the terminal is nobody else's before that

    async def _lines(self) -> None:
        while True:
            await asyncio.sleep(PLAIN_EVERY)
            for meter in self.meters:
                reading = meter.read()
                if any(flow.rate for flow in (*reading.events.values(), *reading.actions.values())):
                    log.info("%s", line(reading))

    def _drawn(self, console: Console, readings: Sequence[Reading], above: Sequence[RenderableType]) -> RenderableType:
        from rich.console import Group

        up = time.monotonic() - self._began
        first = Group(*above)
        room = console.height - 1 - len(console.render_lines(first, pad=False))
        return Group(first, *(table(one, up, console.width, room // len(readings)) for one in readings))


FRAME = 3
"""Lines of a table that are not its rows: the title, the head and what divides it from the rows."""

NUMBERS = 55
"""Columns of a table beside its names."""


def table(reading: Reading, up: float, width: int, lines: int) -> RenderableType:
    """One pipeline's stages, sources and sinks as a table, in so many columns and at most so many lines.

    Where these are too few, filters are left out first, then stages, the quickest first.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    state = Text("ready", "green") if not reading.problems else Text("; ".join(reading.problems), "red")
    title = Text.assemble((reading.name, "bold"), "  ", state, f"  up {clock(up)}")
    shown = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, title_style=""
    )
    shown.add_column("", style="dim", no_wrap=True)
    shown.add_column("", min_width=12, max_width=min(44, max(width - NUMBERS, 12)), no_wrap=True)
    for name in ("per s", "so far", "p50", "p99"):
        shown.add_column(name, justify="right", min_width=7, no_wrap=True)
    stages: list[Sequence[RenderableType]] = [("stage", name, "", "", *_latency(one)) for name, one in _stages(reading)]
    filters: list[Sequence[RenderableType]] = [
        ("filtered", name, *_flow(flow)) for name, flow in reading.filtered.items()
    ]
    before, after = list(_before(reading)), list(_after(reading))
    spare = lines - FRAME - len(before) - len(after)
    if len(stages) + len(filters) > spare:
        # One line says how many there are no lines for.
        spare, kept = max(spare - 1, 0), len(stages)
        filters = filters[: max(spare - kept, 0)]
        slowest = {name for name, _ in sorted(_stages(reading), key=_slowness)[:spare]}
        left_out = kept + len(reading.filtered) - len(filters) - len(slowest)
        stages = [row for row in stages if row[1] in slowest]
        filters.append(("", f"{left_out} in a taller window", "", ""))
    for row in (*before, *stages, *filters, *after):
        shown.add_row(*row)
    return shown


def _stages(reading: Reading) -> list[tuple[str, Latency]]:
    return [(name, one) for name, one in reading.stages.items() if name not in reading.events]


def _slowness(stage: tuple[str, Latency]) -> float:
    """What sorts the slowest first, and those that nothing has passed through last."""
    _, took = stage
    return -took.p50 if took.count else 1.0


def _before(reading: Reading) -> Iterator[Sequence[RenderableType]]:
    for name, flow in reading.events.items():
        yield "in", name, *_flow(flow)
    if sum(reading.lag.values()):
        yield "waiting", "", "", f"{sum(reading.lag.values()):,.0f}"


def _after(reading: Reading) -> Iterator[Sequence[RenderableType]]:
    from rich.text import Text

    for name, flow in reading.actions.items():
        yield "out", name, *_flow(flow)
    yield "decided", "from receipt to action", "", "", *_latency(reading.decision)
    for name, flow in reading.failures.items():
        yield Text("failed", "yellow"), name, *_flow(flow)
    yield Text("dead letters", "red" if reading.dead.total else "dim"), "", *_flow(reading.dead)
    yield "in flight", "", "", f"{reading.in_flight:,.0f}"


def line(reading: Reading) -> str:
    """One pipeline in one line, for logs."""
    took, flows = reading.decision, reading.events.values()
    latency = f", decided in {span(took.p50)} (p99 {span(took.p99)})" if took.count else ""
    return (
        f"{reading.name}: {_sum(flows)} events/s in, {_sum(reading.actions.values())} actions/s out{latency}; "
        f"so far {sum(flow.total for flow in flows):,.0f} events, {reading.dead.total:,.0f} dead letters, "
        f"{reading.in_flight:,.0f} in flight"
    )


def span(seconds: float) -> str:
    """A length of time as people write it.

    >>> span(0.00042), span(0.0042), span(4.2)
    ('420 µs', '4.2 ms', '4.2 s')
    """
    if math.isnan(seconds):
        return "-"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.1f} µs"


def clock(seconds: float) -> str:
    """Minutes and seconds since the start.

    >>> clock(75), clock(3675)
    ('1:15', '1:01:15')
    """
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def _flow(flow: Flow) -> tuple[str, str]:
    return f"{flow.rate:,.0f}", f"{flow.total:,.0f}"


def _latency(latency: Latency) -> tuple[str, str]:
    return span(latency.p50), span(latency.p99)


def _sum(flows: Iterable[Flow]) -> str:
    return f"{sum(flow.rate for flow in flows):,.0f}"
