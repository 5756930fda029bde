"""Card fraud: its rules, its made-up bank, what its model learns, and the pipeline as a whole."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from examples.card_fraud.app import fraud
from examples.card_fraud.events import NEW_CARD, UNKNOWN, Block, Decision, Features, Payment, Profile, Weather
from examples.card_fraud.functions import conditions, decide, features, in_euros, rule_of_thumb, weather
from examples.card_fraud.payments import Bank
from examples.card_fraud.producer import Producer, Route, fill
from examples.card_fraud.train import END, main
from penstock import Event, Reject, Unavailable
from penstock.connectors import Http, Kafka, Message, Mqtt, Settled
from penstock.connectors.store.memory import MemoryStore
from penstock.models import Model, Prediction, open_registry
from penstock.models.script import running
from penstock.pipeline.testing.harness import harness

PROFILE = Profile("DE", 120, 40.0, 20.0, 200.0, 1000.0, 900.0, 0.02, 0.3, 0.02, 0)


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The example's model, trained on fewer payments than it is in earnest."""
    registry = open_registry(str(tmp_path_factory.mktemp("models")))
    with running(registry, lambda progress: None):
        main(payments=4_000)
    return Model.load(registry, "card-fraud@champion")


def payment(**changes: object) -> Payment:
    usual = Payment("p1", "card-1", "DE-17", 35.0, "EUR", "DE", "groceries", "chip", END)
    return msgspec.structs.replace(usual, **changes)


def test_amounts_are_turned_into_euros() -> None:
    assert in_euros(payment(amount=100.0, currency="USD")).amount == pytest.approx(92.0)
    with pytest.raises(Reject, match="no rate for the currency 'XXX'"):
        in_euros(payment(currency="XXX"))


def test_features_compare_a_payment_with_its_cards_habits() -> None:
    found = features(payment(amount=400.0, country="US"), PROFILE, Weather(3.0, 1.0), Event("p1", time=END))
    assert (found.times_mean, found.deviations, found.share_of_largest, found.away, found.rain) == (10, 18, 2, 1, 3)


@pytest.mark.parametrize(
    ("score", "verdict"), [(0.0, "approve"), (0.5, "review"), (0.89, "review"), (0.9, "decline"), (1.0, "decline")]
)
def test_scores_become_verdicts(score: float, verdict: str) -> None:
    decision = decide(payment(), Prediction(score, model="card-fraud", version="3"), Event("p1"))
    assert decision is not None
    assert (decision.verdict, decision.model) == (verdict, "card-fraud@3")
    assert decide(payment(amount=0.0), Prediction(score), Event("p1")) is None


def test_the_rule_of_thumb_looks_at_size_and_place() -> None:
    assert rule_of_thumb(payment(), PROFILE) < 0.1
    assert rule_of_thumb(payment(amount=700.0), PROFILE) == pytest.approx(0.65)
    assert rule_of_thumb(payment(amount=700.0, country="US"), PROFILE) == pytest.approx(0.95)


async def test_the_weather_is_the_same_for_everyone_who_asks() -> None:
    assert await weather(payment()) == conditions("DE-17", END)


def test_the_same_seed_makes_the_same_bank() -> None:
    one, other = Bank(seed=3), Bank(seed=3)
    assert one.profiles == other.profiles
    assert list(one.past(200, end=END)) == list(other.past(200, end=END))
    assert Bank(seed=4).profiles != one.profiles


def test_some_payments_are_fraud_and_all_can_be_decided() -> None:
    past = list(Bank(seed=3).past(3000, end=END))
    assert 0.01 < sum(labelled.fraud for labelled in past) / len(past) < 0.06
    assert len({labelled.payment.id for labelled in past}) == len(past)
    assert all(in_euros(labelled.payment).amount >= 0 for labelled in past)


def test_the_model_tells_thieves_from_owners(champion: Model) -> None:
    assert champion.inputs == tuple(Features.__struct_fields__)
    assert champion.manifest.metrics["auc"] > 0.9
    row = champion.row_for(Features)
    good = features(payment(), PROFILE, UNKNOWN, Event("p1", time=END))
    theft = payment(amount=900.0, country="US", category="cash", entry="magstripe")
    bad = features(theft, PROFILE, UNKNOWN, Event("p2", time=END))
    scores = [prediction.value for prediction in champion.run([row(good), row(bad)])]
    assert scores[0] < 0.1
    assert scores[1] > 0.9


async def test_the_pipeline_decides(champion: Model) -> None:
    row = champion.row_for(Features)
    models = {"card-fraud@champion": lambda given: champion.run([row(given)])[0]}

    async def clear_sky(payment: Payment) -> Weather:
        return UNKNOWN

    async with harness(fraud, store={"card:card-1": PROFILE}, models=models, stub={weather: clear_sky}, start=END) as h:
        usual = await h.send(payment(), to=Http("/payments"))
        assert msgspec.convert(usual.reply, Decision).verdict == "approve"
        theft = payment(id="p2", amount=900.0, country="US", category="cash", entry="magstripe", currency="USD")
        await h.send(theft, to=Kafka("payments"))
        decided = [msgspec.convert(sent.data, Decision) for sent in h.sent(Kafka("decisions"))]
        assert [(one.payment, one.verdict, one.model) for one in decided] == [
            ("p1", "approve", "card-fraud@1"),
            ("p2", "decline", "card-fraud@1"),
        ]
        assert [msgspec.convert(sent.data, Block).card for sent in h.sent(Kafka("blocked-cards"))] == ["card-1"]
        unknown = await h.send(payment(id="p3", card="card-9"), to=Mqtt("terminals/DE-3/payments"))
        assert len(unknown.actions) == 1
        refused = await h.send(payment(id="p4", currency="XXX"), to=Kafka("payments"))
        assert refused.dead is not None
        asked = await h.send(payment(id="p5", amount=0.0), to=Kafka("payments"))
        assert asked.actions == []


async def test_a_rule_of_thumb_decides_where_the_model_fails() -> None:
    def broken(features: Features) -> float:
        raise RuntimeError("no model today")

    async def clear_sky(payment: Payment) -> Weather:
        return UNKNOWN

    models = {"card-fraud@champion": broken}
    async with harness(fraud, models=models, stub={weather: clear_sky}, start=END) as h:
        await h.send(payment(amount=5 * NEW_CARD.largest, country="US"), to=Kafka("payments"))
        [decision] = [msgspec.convert(sent.data, Decision) for sent in h.sent(Kafka("decisions"))]
        assert (decision.verdict, decision.model) == ("decline", "rule of thumb")
        assert "no model today" in decision.reason


class Kept:
    """A sink that keeps what it is sent, and meets one outage."""

    problem: str | None = None
    ordered = True

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.outage = True

    async def open(self, settled: Settled) -> None:
        self.settled = settled

    def send(self, messages: Sequence[Message]) -> None:
        error = Unavailable("kept", "not now") if self.outage else None
        self.outage = False
        if error is None:
            self.messages += messages
        asyncio.get_running_loop().call_soon(self.settled, messages, error)

    async def flush(self) -> None:
        """Everything settles at once."""

    async def close(self) -> None:
        """Nothing to leave."""


async def test_the_producer_loses_no_payment_to_an_outage() -> None:
    sink = Kept()
    producer = Producer(Bank(seed=3, cards=10), [Route(sink, "terminals/{terminal}/payments")], rate=2000)
    await producer.open()
    stop = asyncio.Event()
    running = asyncio.create_task(producer.run(stop))
    while producer.made < 50:
        await asyncio.sleep(0)
    stop.set()
    await running
    await producer.close()
    assert producer.made == producer.confirmed == len(sink.messages)
    sent = msgspec.json.decode(sink.messages[0].value or b"", type=Payment)
    assert sink.messages[0].to == f"terminals/{sent.terminal}/payments"
    assert sink.messages[0].key == sent.card.encode()


async def test_profiles_are_written_as_the_pipeline_reads_them() -> None:
    store = MemoryStore(lambda: 0.0)
    bank = Bank(seed=3, cards=700)
    assert await fill(store, bank) == 700
    [values] = await store.read_hashes(["card:card-00642"], list(Profile.__struct_fields__))
    assert values is not None
    read = {name: (value or b"").decode() for name, value in zip(Profile.__struct_fields__, values, strict=True)}
    assert msgspec.convert(read, Profile, strict=False) == bank.profiles["card-00642"]


def test_training_is_a_command_of_its_own(tmp_path: Path) -> None:
    code = "from examples.card_fraud import train; train.main(payments=2000)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PENSTOCK_MODELS": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0] == "making up 2,000 payments of 90 days"
    assert "[100/100] growing trees" in lines
    assert lines[-1] == "card-fraud@champion is now version 1"
    assert open_registry(str(tmp_path)).resolve("card-fraud@champion").number == 1
