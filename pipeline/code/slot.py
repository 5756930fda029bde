"""The form for stages in which a user's coroutine suspends; and how events get to slots and waves."""

from __future__ import annotations

from penstock.pipeline.code.text import At, Text
from penstock.pipeline.code.tree import Tree
from penstock.pipeline.graph import Node


class Slot(Tree):
    """One of many coroutines that each take one event at a time from first stage to last."""

    form = "slot"

    def write(self) -> Text:
        text = self.text
        with text.block("async def run(ready, refill, arrive):"):
            text.line("take = ready.popleft")
            if self.timed:
                text.line("rested = True")
            with text.block("while True:"):
                # The slot that measures rests after every event, so that what is timed is a sample.
                with text.block(
                    "if not ready and not refill():"
                    if not self.timed
                    else "if rested is False or not ready and not refill():"
                ):
                    with text.block("if not await arrive():"):
                        text.line("return")
                    if self.timed:
                        text.line("rested = True")
                    text.line("continue")
                if self.timed:
                    text.line("rested = False")
                text.line("batch, i, v0, key = take()")
                self._fresh()
                with text.block("try:"):
                    self._follow(self.source, At("v0", {}))
                with text.block("except BaseException as error:"):
                    text.line(f"troubled(failed(error, {self._flight()}, batch, i, {self._out()}, v0, key))")
                    text.line("continue")
                if self._branches():
                    with text.block("if flight is not None:"):
                        text.line("troubled(flight)")
                        text.line("continue")
                self._end_of_event()
        return text

    def resume(self, node: Node, at: At) -> Text:
        """From `node` on, for one event; `flight` carries what it has done so far."""
        text = self.text
        with text.block(f"async def run(flight, batch, i, v0, key, out{at.variables}):"):
            with text.block("try:"):
                self._stage(node, at)
            with text.block("except BaseException as error:"):
                text.line("failed(error, flight, batch, i, out, v0, key)")
        return text

    def admit(self) -> Text:
        """What slots and waves begin with: records of a batch into rows that are ready, or wait behind their key."""
        text = self.text
        with text.block("def run(batch, start, stop):"):
            text.line("values = batch.values")
            with text.block("for i in range(start, stop):"):
                with text.block("try:"):
                    self._decode()
                    self._read_key()
                    if self.source.key is None:
                        with text.block("if key is None:"):
                            text.line("push((batch, i, v0, None))")
                            text.line("continue")
                    if self.keyed:
                        with text.block("if key in table:"):
                            text.line("wait(key, (batch, i, v0, key))")
                            text.line("continue")
                        text.line("table[key] = None")
                    text.line("push((batch, i, v0, key))")
                with text.block("except BaseException as error:"):
                    text.line("refuse(error, batch, i)")
        return text
