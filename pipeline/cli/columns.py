"""Lists as plain columns, the same on a terminal and in a pipe: nothing is cut off."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def show(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below their heads, each column as wide as its widest cell; columns without any cell are left out."""
    kept = [number for number in range(len(head)) if any(row[number] for row in rows)]
    table = [[row[number] for number in kept] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(kept))]
    for number, row in enumerate(table):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        print(f"\x1b[1m{line}\x1b[0m" if number == 0 and sys.stdout.isatty() else line)
