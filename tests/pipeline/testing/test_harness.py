"""The harness: what tests of users' pipelines can rely on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from penstock import Event, Pipeline, Reject, call
from penstock.connectors import Http, Kafka, Mqtt, Reply
from penstock.pipeline.testing.harness import harness
from penstock.stages.lookup import lookup


class Reading(msgspec.Struct, frozen=True):
    value: float
    machine: str = ""


class Machine(msgspec.Struct, frozen=True):
    limit: float


async def forecast(reading: Reading) -> float:
    raise AssertionError("a test does not call out")


def alarm(reading: Reading, machine: Machine | None, event: Event) -> dict[str, Any] | None:
    if machine is None:
        raise Reject(f"unknown machine {reading.machine}")
    return {"machine": reading.machine, "at": event.topic} if reading.value > machine.limit else None


def plant() -> Pipeline:
    made = Pipeline("plant")
    readings = made.source(
        Kafka("readings"), Mqtt("machines/{machine}/vibration"), Http("/readings"), schema=Reading, key="machine"
    )
    readings.enrich(machine=lookup("machine:{machine}", Machine)).act(alarm, to=[Kafka("alarms"), Reply()])
    return made


STORE = {"machine:m1": Machine(10.0), "machine:m2": {"limit": 5}}


async def test_one_event_from_each_source() -> None:
    async with harness(plant(), store=STORE) as h:
        assert (await h.send(Reading(11.0, "m1"), to=Kafka("readings"))).actions == [
            {"machine": "m1", "at": "readings"}
        ]
        by_topic = await h.send({"value": 6.0}, to=Mqtt("machines/m2/vibration"))
        assert by_topic.actions == [{"machine": "m2", "at": "machines/m2/vibration"}]
        answered = await h.send(Reading(12.0, "m1"), to=Http("/readings"))
        assert answered.reply == {"machine": "m1", "at": "/readings"}
        assert [one.key for one in h.sent(Kafka("alarms"))] == ["m1", "m2", "m1"]
        assert len(h.actions(alarm)) == 3


async def test_what_is_dead_can_be_seen() -> None:
    async with harness(plant(), store=STORE) as h:
        outcome = await h.send(Reading(1.0, "nowhere"), to=Kafka("readings"))
        assert outcome.dead is not None and outcome.dead.reason == "unknown machine nowhere"
        assert h.dead == [outcome.dead]
        assert (await h.send(Reading(1.0, "m1"), to=Kafka("readings"))).actions == []


async def test_the_store_can_be_filled_on_the_way() -> None:
    async with harness(plant()) as h:
        await h.put("machine:m9", Machine(0.0))
        assert (await h.send(Reading(1.0, "m9"), to=Kafka("readings"))).actions


async def test_a_source_must_be_named_where_there_are_several() -> None:
    async with harness(plant()) as h:
        with pytest.raises(ValueError, match="say which with to="):
            await h.send(Reading(1.0, "m1"))
        with pytest.raises(ValueError, match="kafka:elsewhere is no source of this pipeline"):
            await h.send(Reading(1.0, "m1"), to=Kafka("elsewhere"))


async def test_stubs_take_the_place_of_what_calls_out() -> None:
    made = Pipeline("stubbed")
    stream = made.source(Kafka("readings"), schema=Reading).enrich(weather=call(forecast, timeout="1s"))
    stream.act(lambda reading, weather: {"weather": weather}, to=Kafka("out"), stage="say")

    async def sunny(reading: Reading) -> float:
        return 30.0

    async with harness(made, stub={forecast: sunny}) as h:
        assert (await h.send(Reading(1.0))).actions == [{"weather": 30.0}]
    with pytest.raises(ValueError, match="nothing in the pipeline calls sunny"):
        async with harness(made, stub={sunny: forecast}):
            pass


async def test_the_clock_stands_still_until_it_is_moved() -> None:
    made = Pipeline("clock")
    made.source(Kafka("readings"), schema=Reading).act(
        lambda reading: {"v": reading.value}, to=Kafka("out"), stage="say"
    )
    start = datetime(2026, 1, 2, tzinfo=UTC)
    async with harness(made, start=start) as h:
        assert h.clock.time() == start.timestamp()
        await h.advance("1h")
        assert h.clock.time() == start.timestamp() + 3600


async def test_an_event_that_never_ends_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Pipeline("stuck")

    async def never(reading: Reading) -> Reading:
        await asyncio.Event().wait()
        return reading

    made.source(Kafka("readings"), schema=Reading).transform(never).end()
    monkeypatch.setattr("penstock.pipeline.testing.harness._PATIENCE", 0.05)
    async with harness(made) as h:
        with pytest.raises(TimeoutError, match="the event did not finish"):
            await h.send(Reading(1.0))


async def test_a_model_must_be_given() -> None:
    made = Pipeline("model")
    made.source(Kafka("readings"), schema=Reading).infer("m@champion").end()
    with pytest.raises(ValueError, match="the pipeline asks for m@champion"):
        async with harness(made):
            pass


async def test_a_fixture_is_shipped(penstock_harness: Any) -> None:
    async with penstock_harness(plant(), store=STORE) as h:
        assert (await h.send(Reading(11.0, "m1"), to=Kafka("readings"))).actions


async def test_two_connections_to_one_topic_are_two_places() -> None:
    made = Pipeline("both")
    stream = made.source(Kafka("readings"), Kafka("readings", on="eu"), schema=Reading)
    stream.act(lambda reading: {"v": reading.value}, to=[Kafka("out"), Kafka("out", on="eu")], stage="say")
    async with harness(made) as h:
        assert (await h.send(Reading(1.0), to=Kafka("readings", on="eu"))).actions == [{"v": 1.0}, {"v": 1.0}]
        assert len(h.sent(Kafka("out"))) == len(h.sent(Kafka("out", on="eu"))) == 1
