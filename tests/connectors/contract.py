"""The contracts of connectors, one suite per protocol, inherited by every implementation.

class TestMemorySource(LogContract):
    @pytest.fixture
    async def rig(self) -> AsyncIterator[LogRig]: ...
"""

from __future__ import annotations

from tests.connectors.log_contract import LogContract
from tests.connectors.rig import (
    PATIENCE,
    Ledger,
    LogRig,
    Outage,
    Record,
    Rig,
    SinkOutageRig,
    SinkRig,
    SourceOutageRig,
    SourceRig,
    Taken,
    by_partition,
    take,
    until,
)
from tests.connectors.sink_contract import KeyedSinkContract, SinkContract, SinkOutageContract
from tests.connectors.source_contract import RedeliveryContract, SourceContract, SourceOutageContract

__all__ = [
    "PATIENCE",
    "KeyedSinkContract",
    "Ledger",
    "LogContract",
    "LogRig",
    "Outage",
    "Record",
    "RedeliveryContract",
    "Rig",
    "SinkContract",
    "SinkOutageContract",
    "SinkOutageRig",
    "SinkRig",
    "SourceContract",
    "SourceOutageContract",
    "SourceOutageRig",
    "SourceRig",
    "Taken",
    "by_partition",
    "take",
    "until",
]
