"""Redis streams keep the contract of sinks, and producers wait for the slowest reader."""

from __future__ import annotations

import pytest

from penstock.connectors import Message
from penstock.connectors.redis.entry import place
from penstock.connectors.redis.sink import RedisSink
from penstock.errors import Undeliverable
from tests.connectors.contract import (
    KeyedSinkContract,
    Ledger,
    SinkOutageContract,
    until,
)
from tests.connectors.redis.rig import OwnStreamRig, StreamRig


class TestSink(KeyedSinkContract):
    pass


class TestSinkOutage(SinkOutageContract):
    @pytest.fixture
    def rig(self, own_rig: OwnStreamRig) -> OwnStreamRig:
        return own_rig


async def test_a_full_stream_makes_its_producer_wait(rig: StreamRig) -> None:
    sink, ledger = RedisSink(rig.to, 1, rig.outside, full=50), Ledger()
    await rig.ask("XGROUP", "CREATE", rig.key(0), "slow", "0", "MKSTREAM")
    await rig.ask("XGROUP", "CREATE", rig.key(0), "quick", "9999999999999-0")
    await sink.open(ledger.settled)
    sink.send([Message(rig.to, b"%d" % number, id=str(number)) for number in range(700)])
    await until(lambda: sink.problem is not None)
    assert sink.problem is not None
    assert sink.problem.startswith(f"{rig.key(0)} is full: 500 entries wait for the group 'slow'; ")
    assert ledger.once(500)
    await rig.ask("XTRIM", rig.key(0), "MAXLEN", 0)
    await until(lambda: ledger.once(700))
    await rig.ask("XTRIM", rig.key(0), "MAXLEN", 0)
    await sink.close()
    assert sink.problem is None


async def test_a_full_stream_makes_what_comes_later_wait_too(rig: StreamRig) -> None:
    """Each message is written before the next one comes: nothing is queued when the stream turns out to be full."""
    sink, ledger = RedisSink(rig.to, 1, rig.outside, full=50), Ledger()
    await rig.ask("XGROUP", "CREATE", rig.key(0), "slow", "0", "MKSTREAM")
    await sink.open(ledger.settled)
    for number in range(50):
        sink.send([Message(rig.to, b"%d" % number, id=str(number))])
        await sink.flush()
    sink.send([Message(rig.to, b"50", id="50")])
    await until(lambda: sink.problem is not None)
    assert await rig.ask("XLEN", rig.key(0)) == 50
    await rig.ask("XTRIM", rig.key(0), "MAXLEN", 0)
    await sink.close()
    assert ledger.once(51)


async def test_a_full_stream_without_readers_keeps_the_newest(rig: StreamRig) -> None:
    sink, ledger = RedisSink(rig.to, 1, rig.outside, full=1000), Ledger()
    await sink.open(ledger.settled)
    sink.send([Message(rig.to, b"%d" % number, id=str(number)) for number in range(4000)])
    await sink.flush()
    sink.send([Message(rig.to, b"last", id="last")])
    await sink.close()
    assert ledger.once(4001)
    assert 1000 <= await rig.ask("XLEN", rig.key(0)) < 2000
    [(_, fields)] = await rig.ask("XREVRANGE", rig.key(0), "+", "-", "COUNT", 1)
    assert fields[1] == b"last"


async def test_one_refused_message_does_not_hold_up_the_others(rig: StreamRig) -> None:
    sink, ledger = rig.endpoint.sink(rig.site()), Ledger()
    await rig.ask("SET", f"{rig.to}-broken:0", "no stream")
    await rig.ask("SET", f"{rig.to}-other:partitions", 7)
    await sink.open(ledger.settled)
    names = {"a": rig.to, "b": f"{rig.to}-broken", "c": rig.to, "d": f"{rig.to}-other", "e": rig.to}
    key = next(b"%d" % number for number in range(9) if place(b"%d" % number, 2) == 0)
    sink.send([Message(to, b"1", key=key, id=id) for id, to in names.items()])
    await sink.flush()
    outcomes = {id: found[0] for id, found in ledger.outcomes.items()}
    assert outcomes["a"] is outcomes["c"] is outcomes["e"] is None
    assert isinstance(outcomes["b"], Undeliverable)
    assert "WRONGTYPE" in str(outcomes["b"])
    assert isinstance(outcomes["d"], Undeliverable)
    assert "has 7 partitions and is declared with 2" in str(outcomes["d"])
    await sink.close()
