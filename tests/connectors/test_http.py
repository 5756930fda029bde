"""HTTP against real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.connectors.contract import SinkContract, SinkOutageContract, SourceContract
from tests.connectors.http_rig import HttpSinkRig, HttpSourceRig


class TestHttpSource(SourceContract):
    @pytest.fixture
    async def rig(self) -> AsyncIterator[HttpSourceRig]:
        rig = HttpSourceRig()
        yield rig
        await rig.close()


class TestHttpSink(SinkContract):
    @pytest.fixture
    async def rig(self) -> AsyncIterator[HttpSinkRig]:
        rig = HttpSinkRig()
        await rig.up()
        yield rig
        await rig.close()


class TestHttpSinkOutage(SinkOutageContract):
    @pytest.fixture
    async def rig(self) -> AsyncIterator[HttpSinkRig]:
        rig = HttpSinkRig()
        await rig.up()
        yield rig
        await rig.close()

    async def test_opening_without_a_server_says_so(self, rig: HttpSinkRig) -> None:  # type: ignore[override]
        """Opening asks nothing of a third party; what is sent waits for it."""
        await rig.down()
