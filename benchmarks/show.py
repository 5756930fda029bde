"""A report for people."""

from __future__ import annotations

import statistics

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Figure, Report


def show(report: Report, console: Console | None = None) -> None:
    """Print the rates, the figures against their targets, the notes and the machine."""
    console = Console() if console is None else console
    if report.rates:
        console.print(_rates(report))
    if report.figures:
        console.print(_figures(report))
    for note in report.notes:
        console.print(f"[dim]- {note}[/]", highlight=False)
    machine = report.machine
    console.print(
        f"[dim]{machine['processor']}, {machine['cores']} cores, load {machine['load']}, {machine['python']}[/]\n"
        f"[dim]{report.command}[/]",
        highlight=False,
    )


def _rates(report: Report) -> Table:
    table = Table("contestant", title=report.benchmark, title_justify="left")
    for heading in (f"median {report.unit}", "lowest", "highest"):
        table.add_column(heading, justify="right")
    for name, rates in report.rates.items():
        table.add_row(name, *(number(found) for found in (statistics.median(rates), min(rates), max(rates))))
    return table


def _figures(report: Report) -> Table:
    table = Table("figure")
    for heading in ("median", "rounds", "must reach", ""):
        table.add_column(heading, justify="right")
    for figure in report.figures:
        rounds = " ".join(f"{ratio:.2f}" for ratio in figure.ratios) if len(figure.ratios) > 1 else ""
        table.add_row(figure.name, f"{figure.value:.3g} {figure.unit}", rounds, _target(figure), _verdict(figure))
    return table


def _target(figure: Figure) -> str:
    if figure.target is None:
        return "-"
    return f"{'<=' if figure.at_most else '>='} {figure.target:g} {figure.unit}"


def _verdict(figure: Figure) -> str:
    return {None: "", True: "[green]reached[/]", False: "[red]missed[/]"}[figure.reached]


def number(value: float) -> str:
    """A rate as a person reads it.

    >>> number(1234567.8), number(12.345)
    ('1,234,568', '12.3')
    """
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
