"""`make demo`: what it runs, for a few seconds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from examples.card_fraud.events import Decision, Payment
from examples.card_fraud.ledger import Ledger
from examples.card_fraud.picture import canvas, draw
from tests.pipeline.process import Running, post

ROOT = Path(__file__).parents[2]
DEMO = [sys.executable, "-m", "examples.card_fraud"]


@pytest.mark.slow
def test_every_payment_has_its_outcome(tmp_path: Path) -> None:
    settings = {"PYTHONPATH": str(ROOT)}
    arguments = ["--seconds", "3", "--rate", "100"]
    with Running(*arguments, folder=tmp_path, settings=settings, command=DEMO) as demo:
        demo.says("push one by hand: curl")
        payment = '{"id": "mine", "card": "card-00001", "terminal": "t", "amount": 1}'
        assert post(demo.url("/payments"), payment)[0] == 200
        assert demo.process.wait(120) == 0, demo.text
        assert "every payment has its outcome" in demo.text
        for fact in ("events in", "actions out", "filtered", "dead letters", "rate", "p50", "p99"):
            assert fact in demo.text


def test_its_picture_is_what_a_terminal_shows(tmp_path: Path) -> None:
    draw("[bold]card fraud[/]   300 payments/s", canvas().size, tmp_path / "demo.svg")
    text = (tmp_path / "demo.svg").read_text(encoding="utf-8")
    assert "card&#160;fraud" in text
    assert "@font-face" not in text, "nothing is fetched by who looks at it"


def test_the_ledger_tells_what_is_missing() -> None:
    ledger = Ledger()
    for number in range(4):
        ledger.sent(Payment(f"p{number}", "c", "t", 0.0 if number == 3 else 10.0))
    ledger.decided(Decision("p0", "c", "approve", 0.1, "m@1"))
    assert ledger.missing({"p1"}) == {"p2"}
    assert (ledger.count, ledger.silent, ledger.foreign) == (4, 1, 0)
    assert ledger.decided(Decision("elsewhere", "c", "review", 0.6, "m@1")).took is None
    ledger.refuse("p2")
    assert ledger.missing({"p1"}) == set()
    assert ledger.took(0.99) is not None
