"""Tests of penstock.connectors."""

from __future__ import annotations

import pytest

# The contracts' assertions explain themselves as those of test modules do.
for name in ("rig", "source_contract", "sink_contract"):
    pytest.register_assert_rewrite(f"tests.connectors.{name}")
