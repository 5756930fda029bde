"""`python -m penstock.pipeline.cli`, which is what worker processes are started as."""

from __future__ import annotations

from penstock.pipeline.cli import main

main()
