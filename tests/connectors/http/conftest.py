"""A path on a server of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.connectors.http.rig import HttpSourceRig


@pytest.fixture
async def rig() -> AsyncIterator[HttpSourceRig]:
    rig = HttpSourceRig()
    yield rig
    await rig.close()
