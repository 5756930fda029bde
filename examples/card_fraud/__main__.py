"""The demonstration: the card-fraud pipeline at work on this machine, with made-up payments. `make demo` runs it.

What has no address is embedded. Exit code 0 only if every payment that went in has its outcome.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from examples.card_fraud.app import fraud
from examples.card_fraud.events import Decision, Payment
from examples.card_fraud.ledger import Ledger
from examples.card_fraud.payments import Bank
from examples.card_fraud.picture import canvas, draw
from examples.card_fraud.screen import Screen
from examples.card_fraud.tills import Tills
from penstock.connectors import Kafka, Site
from penstock.errors import ConfigError, PenstockError
from penstock.pipeline.serving.dev import Bench, train
from penstock.pipeline.serving.following import reader
from penstock.pipeline.serving.live import Live, clock, span
from penstock.pipeline.serving.logs import set_up
from penstock.pipeline.serving.run import on_loop
from penstock.pipeline.serving.stand_in import stand_in

if TYPE_CHECKING:
    from rich.console import Console

    from penstock.pipeline.letters.letters import Letter

PATIENCE = 30.0
"""Seconds that the last payments may take to their outcomes."""


BY_HAND = Path(__file__).with_name("payment.json")
"""A payment to push by hand: a cloned card at a cash machine abroad."""


class Demonstration:
    """The pipeline, the bank that makes payments, and the ledger that follows each of them."""

    def __init__(self, bench: Bench, *, rate: int, seconds: float | None) -> None:
        self.bench = bench
        self.rate = rate
        self.seconds = seconds
        self.bank = Bank()
        self.ledger = Ledger()
        self.service = bench.service()
        self.site = Site(bench.settings, pipeline="card-fraud-demo")
        self.tills = Tills(self.site, bench.settings, self.ledger)
        self.live: Live | None = None
        self.dead: set[str] = set()
        self.sending = 0.0
        self._over = asyncio.Event()

    async def run(self, console: Console | None) -> int:
        """Until Ctrl-C, or the seconds are over; then the outcomes are waited for, and summed up."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._end)
        serving = asyncio.ensure_future(self.service.run())
        ready = asyncio.ensure_future(self.service.ready.wait())
        await asyncio.wait([serving, ready], return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            ready.cancel()
            serving.result()
            raise PenstockError("the pipeline ended before it was ready")
        showing = asyncio.ensure_future(self._show(console))
        try:
            await self._demonstrate()
        finally:
            showing.cancel()
            with suppress(asyncio.CancelledError):
                await showing
            self.service.stop()
            await serving
            await self.site.close()
        return self._sum_up()

    def _end(self) -> None:
        """The first signal ends the payments, a second one everything."""
        if self._over.is_set():
            raise SystemExit(1)
        self._over.set()

    async def _demonstrate(self) -> None:
        store = self.service.engines[0].store
        known = self.bank.profiles.items()
        await asyncio.gather(*(store.write_hash(f"card:{card}", msgspec.to_builtins(one)) for card, one in known))
        decisions = reader(stand_in(self.bench.settings)(Kafka("decisions")), self.site, earliest=False)
        await decisions.open()
        reading = asyncio.ensure_future(self._read(decisions))
        await self.tills.open()
        try:
            began = time.monotonic()
            await self._send()
            self.sending = time.monotonic() - began
            await self._settle()
        finally:
            decisions.stop()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await decisions.close()
            await self.tills.close()

    async def _send(self) -> None:
        """Payments at a steady rate, a few every hundredth of a second."""
        began, sent = time.monotonic(), 0
        while not self._over.is_set():
            passed = time.monotonic() - began
            if self.seconds is not None and passed >= self.seconds:
                return
            due = int(passed * self.rate)
            for _ in range(due - sent):
                self.tills.take(self._payment(sent))
                sent += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), 0.01)

    def _payment(self, number: int) -> Payment:
        """The next payment of the bank; now and then somebody types a currency that does not exist."""
        payment = self.bank.payment(time.time()).payment
        return msgspec.structs.replace(payment, currency="EUX") if number % 500 == 499 else payment

    async def _read(self, decisions: object) -> None:
        from penstock.connectors import Source

        assert isinstance(decisions, Source)
        decode = msgspec.json.Decoder(Decision).decode
        while batches := await decisions.receive():
            for batch in batches:
                for index, value in enumerate(batch.values):
                    self.ledger.decided(decode(value))
                    batch.settle(index)

    async def _settle(self) -> None:
        """Wait until every payment has its outcome and nothing is in flight."""
        deadline = time.monotonic() + PATIENCE
        engine = self.service.engines[0]
        while time.monotonic() < deadline:
            if self.tills.waiting == 0 and sum(engine.statistics()["in_flight"].values()) == 0:
                self.dead = {letter.event async for letter in self._letters()}
                if not self.ledger.missing(self.dead):
                    return
            await asyncio.sleep(0.02)

    async def _letters(self) -> AsyncIterator[Letter]:
        letters, after = self.service.engines[0].letters, ""
        while some := await letters.read(after, 500):
            for _, letter in some:
                yield letter
            after = some[-1][0]

    async def _show(self, console: Console | None) -> None:
        screen = Screen(self.ledger, self._curl(), self.rate)
        if console is None:
            print(f"push one by hand: {self._curl()}", flush=True)
        self.live = Live(self.service.engines, console, above=screen.above)
        await self.live.run()

    def _curl(self) -> str:
        return f"curl --json @{_shortest(BY_HAND)} http://{self.bench.settings.process.http_listen}/payments"

    def _sum_up(self) -> int:
        """Print what happened; the exit code."""
        missing = self.ledger.missing(self.dead)
        for name, value in self._facts():
            print(f"  {name:<14}{value}")
        if missing:
            print(f"  {len(missing):,} payments have no outcome, for example {min(missing)}", file=sys.stderr)
            return 1
        print("  every payment has its outcome")
        return 0

    def _facts(self) -> Iterator[tuple[str, str]]:
        found = self.service.engines[0].statistics()
        ledger = self.ledger
        actions = ", ".join(f"{count:,} to {name}" for name, count in found["actions"].items())
        verdicts = ", ".join(f"{count:,} {verdict}" for verdict, count in ledger.verdicts.items())
        others = f", {ledger.foreign:,} of others" if ledger.foreign else ""
        yield "events in", f"{sum(found['events'].values()):,} ({ledger.count:,} sent by the demonstration)"
        yield "actions out", f"{sum(found['actions'].values()):,} ({actions})"
        yield "decisions", f"{verdicts}; {ledger.silent:,} payments of nothing need none{others}"
        filtered = ", ".join(f"{count:,} by {stage}" for stage, count in found["filtered"].items())
        yield "filtered", f"{sum(found['filtered'].values()):,} ({filtered})"
        yield "dead letters", f"{sum(found['dead_letters'].values()):,} ({_penstock()} dead list shows them)"
        yield "refused", f"{len(ledger.refused):,} to their senders over HTTP"
        if self.sending:
            yield "rate", f"{ledger.count / self.sending:,.0f} events/s for {clock(self.sending)}"
        p50, p99 = ledger.took(0.5), ledger.took(0.99)
        if p50 is not None and p99 is not None:
            yield "latency", f"p50 {span(p50)}, p99 {span(p99)}, from sending a payment to reading its decision"


def _shortest(path: Path) -> Path:
    """A path as one would type it in the working folder."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _penstock() -> Path:
    """The command as one would type it in the working folder."""
    name = "penstock"
    return Path(name) if shutil.which(name) else _shortest(Path(sys.executable).with_name(name))


async def demonstrate(
    bench: Bench, console: Console | None, rate: int, seconds: float | None, picture: Path | None = None
) -> int:
    """Run the demonstration on the running loop, and leave a picture of its last screen."""
    demonstration = Demonstration(bench, rate=rate, seconds=seconds)
    code = await demonstration.run(console)
    if picture is not None and console is not None and demonstration.live is not None:
        draw(demonstration.live.shown, console.size, picture)
    return code


def main() -> int:
    """Parse the command line, train the model if there is none, and begin."""
    parser = argparse.ArgumentParser(prog="python -m examples.card_fraud", description=__doc__)
    parser.add_argument("--seconds", type=float, help="end by itself after so long")
    parser.add_argument("--rate", type=int, default=300, help="payments per second (300)")
    parser.add_argument("--picture", type=Path, help="leave the last screen as SVG in this file, and show none")
    given = parser.parse_args()
    console = None
    if sys.stdout.isatty() and not given.picture:
        from rich.console import Console

        console = Console()
    set_up("human", console=console, terse=True)
    if given.picture:
        console = canvas()
    graphs = [fraud.build()]
    try:
        with Bench(graphs) as bench:
            train(graphs, bench.settings)
            bench.leave_word()
            return on_loop(demonstrate(bench, console, given.rate, given.seconds, given.picture))
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except PenstockError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
