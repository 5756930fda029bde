"""The demonstration's screen as a picture for the pages: `make picture`."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleDimensions, RenderableType

WIDTH, HEIGHT = 112, 43


def canvas() -> Console:
    """A terminal that nobody looks at, in the size of the picture."""
    from rich.console import Console

    return Console(file=io.StringIO(), force_terminal=True, width=WIDTH, height=HEIGHT)


def draw(shown: RenderableType, size: ConsoleDimensions, path: Path) -> None:
    """Leave what a terminal of this size shows as SVG, in the fonts of whoever looks at it."""
    from rich._export_format import CONSOLE_SVG_FORMAT
    from rich.console import Console

    console = Console(file=io.StringIO(), record=True, force_terminal=True, width=size.width, height=size.height)
    console.print(shown)
    plain = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    path.write_text(console.export_svg(title="make demo", code_format=plain, unique_id="demo"), encoding="utf-8")
