"""An interpreter that imports the modules listed in a file, and nothing else: the reference of `start`."""

from __future__ import annotations

import contextlib
import importlib
import sys
import warnings
from pathlib import Path

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for name in Path(sys.argv[1]).read_text(encoding="utf-8").split():
        # Modules that a package makes of itself cannot be asked for by name.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    print("ready", flush=True)
