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

    def above(self) -> Iterator[RenderableType]:
        from rich.text import Text

        yield Text.assemble(("card fraud", "bold"), f"   {self.state}   ", ("Ctrl-C ends", "dim"))
        yield Text.from_markup(f"\n{PICTURE}\n")
        yield self._decisions()
        p50, p99 = (self.ledger.took(share, last=10.0) for share in (0.5, 0.99))
        if p50 is not None and p99 is not None:
            yield Text.assemble(
                "from sending a payment to reading its decision:  ",
                ("p50 " + span(p50), "bold"),
                "   ",
                ("p99 " + span(p99), "bold"),
                ("   (last 10 s)\n", "dim"),
            )
        yield Text.assemble("push one by hand:  ", (self.curl, "cyan"), "\n", overflow="fold")

    def _decisions(self) -> RenderableType:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name, width in (("payment", 16), ("card", 10), ("terminal", 8)):
            table.add_column(name, min_width=width, max_width=width, no_wrap=True)
        table.add_column("amount", justify="right", min_width=12, no_wrap=True)
        table.add_column("score", justify="right", min_width=5)
        for name, width in (("verdict", 7), ("decided by", 13)):
            table.add_column(name, min_width=width, no_wrap=True)
        table.add_column("took", justify="right", min_width=8, no_wrap=True)
        for decision, payment, took in self.ledger.latest:
            amount = f"{payment.amount:,.2f} {SIGNS.get(payment.currency, payment.currency)}" if payment else ""
            table.add_row(
                decision.payment,
                decision.card,
                payment.terminal if payment else "by hand",
                amount,
                f"{decision.score:.3f}",
                Text(decision.verdict, COLOURS[decision.verdict]),
                decision.model,
                span(took) if took is not None else "",
            )
        return table
