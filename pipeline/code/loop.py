"""The form for stages that never suspend: one plain function over a slice of a batch."""

from __future__ import annotations

from penstock.pipeline.code.text import At, Text
from penstock.pipeline.code.tree import Tree


class Loop(Tree):
    """Runs one event after another. Keys are looked at only while something is parked, or where they are declared."""

    form = "loop"

    def write(self) -> Text:
        text = self.text
        with text.block("def run(batch, start, stop):"):
            text.line("values = batch.values")
            text.line("first = start")
            with text.block("for i in range(start, stop):"):
                self._fresh()
                with text.block("try:"):
                    self._decode()
                    if self._always_keyed():
                        self._read_key()
                    if self.keyed:
                        with text.block("if table:" if not self.holding else "if True:"):
                            if not self._always_keyed():
                                text.line(f"key = {self._key()}", self._origin())
                            with text.block("if key in table:"):
                                text.line("park(batch, i, key)")
                                self._settle_run()
                                text.line("continue")
                    self._follow(self.source, At("v0", {}))
                with text.block("except BaseException as error:"):
                    self._settle_run()
                    text.line(f"troubled(failed(error, {self._flight()}, batch, i, {self._out()}))")
                    text.line("continue")
                if self._branches():
                    with text.block("if flight is not None:"):
                        self._settle_run()
                        text.line("troubled(flight)")
                        text.line("continue")
                if self.acts:
                    with text.block("if out:"):
                        self._settle_run()
                        text.line(
                            "deliver(batch, i, out)" if not self.holding else "deliver_holding(batch, i, out, key)"
                        )
            with text.block("if first < stop:"):
                text.line("batch.settle_run(first, stop)")
        return text

    def _always_keyed(self) -> bool:
        """Whether a loop reads the key of every event: where one is declared, an event without it is refused."""
        return self.source.key is not None or self.holding

    def _settle_run(self) -> None:
        with self.text.block("if first < i:"):
            self.text.line("batch.settle_run(first, i)")
        self.text.line("first = i + 1")

    def _key_now(self) -> str:
        return "key" if self._always_keyed() else self._key()

    def _branch_failed(self) -> None:
        with self.text.block("except BaseException as error:"):
            self.text.line(f"flight = failed(error, flight, batch, i, {self._out()})")
