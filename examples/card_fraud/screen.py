"""What the demonstration shows on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from examples.card_fraud.ledger import Ledger
from penstock.pipeline.live import span

if TYPE_CHECKING:
    from rich.console import RenderableType

COLOURS = {"approve": "green", "review": "yellow", "decline": "red"}
SIGNS = {"EUR": "€", "USD": "$", "GBP": "£"}

PICTURE = """\
[dim]kafka[/]  payments ──────┐                 ┌ profile ┐
[dim]mqtt[/]   terminals/+/… ─┼─ in euros ──────┤         ├── model ──┬─ decide ───────────── [dim]kafka[/] decisions
[dim]http[/]   /payments ─────┘                 └ weather ┘           └─ alarming? ─ block ─ [dim]kafka[/] blocked-cards"""


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
        for name, justify in (("payment", "left"), ("card", "left"), ("terminal", "left"), ("amount", "right")):
            table.add_column(name, justify=justify, min_width=12)  # type: ignore[arg-type]
        for name, justify in (("score", "right"), ("verdict", "left"), ("model", "left"), ("took", "right")):
            table.add_column(name, justify=justify, min_width=8)  # type: ignore[arg-type]
        for decision, payment, took in self.ledger.latest:
            amount = f"{payment.amount:,.2f} {SIGNS.get(payment.currency, payment.currency)}" if payment else ""
            verdict = Text(decision.verdict, COLOURS[decision.verdict])
            terminal = payment.terminal if payment else "by hand"
            model = decision.model.partition("@")[2] and f"version {decision.model.partition('@')[2]}"
            shown = span(took) if took is not None else ""
            score = f"{decision.score:.3f}"
            table.add_row(
                decision.payment, decision.card, terminal, amount, score, verdict, model or decision.model, shown
            )
        return table
