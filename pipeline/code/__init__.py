"""Writing the function that runs one source's events through the stages that follow it.

The graph below a source is a tree (what follows a merge is written once for each way into it), and the tree becomes
the text of one Python function, with the names of the scope as its local variables. Three forms:

- *loop*: nothing suspends. A plain function runs a slice of a batch, event after event.
- *wave*: only the engine's own steps suspend (lookups, predictions, functions of lists). A coroutine function takes
  many events of distinct keys through each step together.
- *slot*: a user's coroutine suspends. A coroutine runs one event after another, each from first stage to last.

A fourth, *resume*, is a slot's body from one stage on, for a single event that failed there.

Nothing in the text records which stage is running: when something raises, the line number in the traceback says
which stage it was, and the frame's local variables are what it was given (`Point`).
"""

from __future__ import annotations

from penstock.pipeline.code.forms import Form, form_of, reachable
from penstock.pipeline.code.loop import Loop
from penstock.pipeline.code.slot import Slot
from penstock.pipeline.code.text import At, Point, Text
from penstock.pipeline.code.tree import Tree
from penstock.pipeline.code.wave import Wave

FORMS: dict[Form, type[Tree]] = {"loop": Loop, "wave": Wave, "slot": Slot}

__all__ = ["FORMS", "At", "Form", "Point", "Slot", "Text", "Tree", "form_of", "reachable"]
