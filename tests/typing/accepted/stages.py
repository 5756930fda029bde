"""`enrich`, `infer` and `act` take functions, `call`, `batched` and helpers in every position."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import assert_type

from penstock import Action, Event, Pipeline, Retries, Stream, batched, call
from penstock.connectors.memory import Memory
from penstock.models import Prediction
from penstock.stages.function import Batched, Call
from penstock.stages.lookup import Lookup, lookup
from penstock.stages.seen import seen
from penstock.stages.state import State, state
from tests.typing.shop import (
    Decision,
    Features,
    Payment,
    Profile,
    Refund,
    decide,
    doubles,
    doubles_later,
    features,
    in_euros,
    is_big,
    refunded,
)

pipeline = Pipeline("typed", record=Memory("record"))
payments = pipeline.source(Memory("payments"), schema=Payment)

assert_type(lookup("card:{card}", Profile), Lookup[Profile | None])
assert_type(lookup("card:{card}", Profile, missing="reject", cache="1m"), Lookup[Profile])
assert_type(lookup("card:{card}", Profile, default=Profile(0.0)), Lookup[Profile])
assert_type(lookup("card:{card}", float, default=None), Lookup[float | None])
assert_type(lookup("card:{card}", dict[str, float], missing="reject"), Lookup[dict[str, float]])


def grow(total: float | None, payment: Payment) -> float:
    """What a payment makes of the total so far."""
    return (total or 0.0) + payment.amount


assert_type(state(float, by="card", update=grow), State[float])
assert_type(state(float, by=("card", "id"), update=grow, stage="sum", horizon="1h"), State[float])

assert_type(call(in_euros, thread=True), Call[Payment, Payment])
assert_type(call(refunded, timeout="50ms", cache="1m"), Call[Payment, Refund])
assert_type(call(refunded, default=None), Call[Payment, Refund | None])
assert_type(batched(doubles, max=128), Batched[Payment, Refund])
assert_type(batched(doubles_later, timeout="1s"), Batched[Payment, Refund])
assert_type(payments.transform(batched(doubles)), Stream[Refund])
assert_type(payments.transform(batched(doubles_later)), Stream[Refund])

enriched = payments.enrich(
    profile=lookup("card:{card}", Profile, missing="reject"),
    plain=in_euros,
    later=refunded,
    bounded=call(refunded, timeout="50ms", default=None),
    listed=batched(doubles_later),
    short=lambda payment: payment.amount,
    total=state(float, by="card", update=grow),
)
assert_type(enriched, Stream[Payment])


def rule(payment: Payment, profile: Profile) -> float:
    """What answers where the model does not."""
    return payment.amount / profile.limit


def rows(payment: Payment) -> list[Features]:
    """Several rows for one event."""
    return [Features(payment.amount)]


assert_type(enriched.infer("m@champion"), Stream[Payment])
assert_type(enriched.infer("m@champion", features, fallback=rule, deadline="20ms"), Stream[Payment])
assert_type(enriched.infer("m@champion", rows, many=True, name="each", stage="rows"), Stream[Payment])
assert_type(
    enriched.infer("m@champion", call(features, thread=True), challenger="m@challenger", share=0.1, shadow="m@shadow"),
    Stream[Payment],
)
enriched.infer("m@champion", fallback=lambda payment: Prediction(0.5, label="honest"))


def acted(payment: Payment, event: Event) -> Action[Decision]:
    """A decision with more to say."""
    return Action(Decision(True), key=event.key, headers={"reason": "rule"}, type="blocked", subject=payment.card)


async def listed(payment: Payment) -> list[Decision]:
    """Several decisions about one event."""
    return [Decision(True)]


assert_type(payments.enrich(again=seen("id", within="1h")), Stream[Payment])
assert_type(payments.enrich(again=seen(("id", "card"), within="1h")), Stream[Payment])

out = Memory("out")
assert_type(enriched.act(decide, to=out), Stream[Payment])
assert_type(enriched.act(acted, to=[out, Memory("copies")], key="card", retry=Retries(attempts=9)), Stream[Payment])
enriched.act(listed, to=(out,), key=lambda decision: "k", stage="each")
enriched.act(batched(doubles), to=out)
enriched.act(decide, to=out, once=True, stage="kept")
enriched.act(decide, to=out, once="2h", stage="kept for two hours")
enriched.act(call(refunded, timeout="1s"), to=out)
enriched.filter(is_big).act(lambda payment: None, to=out, stage="nothing")


class Client:
    """A client of something."""


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """Opened once for each process."""
    yield Client()


pipeline.resource(client=client)
