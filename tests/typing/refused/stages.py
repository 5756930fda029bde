"""Wrong options and wrong functions are refused where they are written."""

from penstock import Action, Pipeline, Retries, batched, call
from penstock.connectors.memory import Memory
from penstock.stages.lookup import lookup
from penstock.stages.state import state
from tests.typing.shop import Payment, Profile, Refund, decide, doubles, in_euros, refunded

pipeline = Pipeline("typed")
payments = pipeline.source(Memory("payments"), schema=Payment)
out = Memory("out")


def refund_only(refund: Refund) -> float:
    """A function of refunds."""
    return 0.0


async def slowly(payment: Payment) -> float:
    """A fallback must not wait."""
    return 0.0


def decoded(raw: bytes) -> Refund:
    """Bytes to another type."""
    return Refund("", "")


def always(total: float, payment: Payment) -> float:
    """It does not expect a first event."""
    return total + payment.amount


def grow(total: float | None, payment: Payment) -> float:
    """What a payment makes of the total so far."""
    return payment.amount


Pipeline("typed", order="time")  # error
Pipeline("typed", latency_budget=0.25)  # error
Pipeline("typed", concurrency="256")  # error
Pipeline("typed", retry=3)  # error
Pipeline("typed", record="decisions")  # error

pipeline.source("payments", schema=Payment)  # error
pipeline.source(Memory("a"))  # error
pipeline.source(Memory("a"), schema=Payment, key=7)  # error
pipeline.source(Memory("a"), schema=Payment, repeats="often")  # error
pipeline.source(Memory("a"), schema=Payment, time=7)  # error
pipeline.resource(client=7)  # error

payments.enrich(profile=7)  # error
payments.enrich(profile=refund_only)  # error
payments.infer(7)  # error
payments.infer("m@champion", refund_only)  # error
payments.infer("m@champion", fallback=slowly)  # error
payments.infer("m@champion", deadline=0.02)  # error
payments.infer("m@champion", share="half")  # error
payments.act(decide)  # error
payments.act(decide, to="decisions")  # error
payments.act(refund_only, to=out)  # error
payments.act(decide, to=out, key=7)  # error
payments.act(decide, to=out, once=7)  # error

call(in_euros, timeout=0.05)  # error
call(in_euros, cache=60)  # error
call(in_euros, retry=3)  # error
call("in_euros")  # error
batched(in_euros)  # error
batched(doubles, max="64")  # error
batched(refunded)  # error
Retries(attempts="3")  # error
Retries(first=0.1)  # error
Retries(on="TimeoutError")  # error
Action()  # error

lookup("card:{card}")  # error
lookup("card:{card}", Profile, missing="ignore")  # error
lookup("card:{card}", Profile, default=None, missing="reject")  # error
lookup("card:{card}", Profile, cache=60)  # error
wrong: int = lookup("card:{card}", Profile)  # error

state(float, by="card", update=always)  # error
state(float, update=grow)  # error
state(float, by=7, update=grow)  # error
state(str, by="card", update=grow)  # error
state(float, by="card", update=grow, horizon=60)  # error
