"""What the demonstration shows on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from examples.card_fraud.ledger import Ledger
from penstock.pipeline.serving.live import span

if TYPE_CHECKING:
    from rich.console import RenderableType

COLOURS = {"approve": "green", "review": "yellow", "decline": "red"}
SIGNS = {"EUR": "€", "USD": "$", "GBP": "£"}

WIDE, HIGH = 101, 21
"""Columns for the picture and all of a decision, and lines, of half a window, for the picture and all decisions."""

FRAME = 4
"""Lines around the decisions: what runs, their head and what divides it from them, how long they took."""

PICTURE = """\
[dim]kafka[/] payments ───────┐             ┌ profile ┐           ┌─ decide ───────────── [dim]kafka[/] decisions
[dim]mqtt[/]  terminals/+/… ──┼─ in euros ──┤         ├── model ──┤
[dim]http[/]  /payments ──────┘             └ weather ┘           └─ alarming? ─ block ── [dim]kafka[/] blocked-cards"""


class Screen:
    """The part above the pipeline's own table: the picture, how to push a payment, the latest decisions."""

    def __init__(self, ledger: Ledger, curl: str, rate: int) -> None:
        self.ledger = ledger
        self.curl = curl
        self.rate = rate
        self.state = f"{rate:,} payments/s"

    def above(self, width: int, lines: int) -> Iterator[RenderableType]:
        """At most so many lines: the picture where there is room for it, and as many decisions as fit."""
        from rich.text import Text

        roomy = width >= WIDE and lines >= HIGH
        gap = "\n" if roomy else ""
        yield Text.assemble(("card fraud", "bold"), f"   {self.state}   ", ("Ctrl-C ends", "dim"))
        if roomy:
            yield Text.from_markup(f"\n{PICTURE}\n")
        by_hand = f"push one by hand:  {self.curl}"
        yield self._decisions(lines - FRAME - 1 - -(-len(by_hand) // width), wide=width >= WIDE)
        p50, p99 = (self.ledger.took(share, last=10.0) for share in (0.5, 0.99))
        if p50 is not None and p99 is not None:
            yield Text.assemble(
                f"{gap}from sending to reading a decision:  ",
                ("p50 " + span(p50), "bold"),
                "   ",
                ("p99 " + span(p99), "bold"),
                ("   (last 10 s)" + gap, "dim"),
            )
        yield Text.assemble("push one by hand:  ", (self.curl, "cyan"), gap, overflow="fold")

    def _decisions(self, most: int, *, wide: bool) -> RenderableType:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for name, width in (("payment", 16), ("card", 10), ("terminal", 8)):
            table.add_column(name, min_width=width, max_width=width, no_wrap=True)
        table.add_column("amount", justify="right", min_width=12, no_wrap=True)
        if wide:
            table.add_column("score", justify="right", min_width=5)
        table.add_column("verdict", min_width=7, no_wrap=True)
        if wide:
            table.add_column("decided by", min_width=13, no_wrap=True)
        table.add_column("took", justify="right", min_width=8, no_wrap=True)
        for decision, payment, took in list(self.ledger.latest)[-max(most, 1) :]:
            amount = f"{payment.amount:,.2f} {SIGNS.get(payment.currency, payment.currency)}" if payment else ""
            table.add_row(
                decision.payment,
                decision.card,
                payment.terminal if payment else "by hand",
                amount,
                *([f"{decision.score:.3f}"] if wide else []),
                Text(decision.verdict, COLOURS[decision.verdict]),
                *([decision.model] if wide else []),
                span(took) if took is not None else "",
            )
        return table
