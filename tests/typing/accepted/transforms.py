"""`transform` infers what it emits from every kind of function."""

from typing import assert_type

from penstock import Pipeline, Retries, Stream, call
from penstock.connectors.memory import Memory
from tests.typing.shop import Occurrence, Payment, Profile, Refund, identity, in_euros, parts, refunded, streamed

pipeline = Pipeline("typed", latency_budget="250ms", retry=Retries(attempts=5, on=(TimeoutError, OSError)))
payments = pipeline.source(Memory("in"), schema=Payment, key="card", id=("id", "card"), time="at")

assert_type(payments, Stream[Payment])
assert_type(payments.transform(in_euros), Stream[Payment])
assert_type(payments.transform(refunded), Stream[Refund])
assert_type(payments.transform(parts), Stream[Refund])
assert_type(payments.transform(streamed), Stream[Refund])
assert_type(payments.transform(identity), Stream[str])
assert_type(payments.transform(lambda payment: payment.amount, stage="amount"), Stream[float])
assert_type(payments.transform(in_euros, retry=Retries(attempts=2)), Stream[Payment])
assert_type(payments.transform(call(refunded, timeout="1s", retry=Retries())), Stream[Refund])


class Case:
    """A class that gathers names."""

    def __init__(self, payment: Payment, profile: Profile) -> None:
        self.payment = payment
        self.profile = profile


assert_type(payments.transform(Case), Stream[Case])


class Scorer:
    """An object that is called."""

    def __call__(self, payment: Payment) -> float:
        return payment.amount

    async def slowly(self, payment: Payment) -> float:
        return payment.amount


assert_type(payments.transform(Scorer(), stage="score"), Stream[float])
assert_type(payments.transform(Scorer().slowly), Stream[float])

# A stream of payments is a stream of occurrences.
occurrences: Stream[Occurrence] = payments

assert_type(pipeline.source(Memory("a"), schema=Payment | Refund), Stream[Payment | Refund])
assert_type(pipeline.source(Memory("b"), schema=dict[str, float]), Stream[dict[str, float]])
assert_type(pipeline.source(Memory("c"), schema=Payment, key=lambda payment: payment.card), Stream[Payment])


def decoded(raw: bytes) -> Payment:
    """Bytes as the user reads them."""
    return Payment("", "", float(raw))


assert_type(pipeline.source(Memory("d"), schema=Payment, decode=decoded, repeats="counted"), Stream[Payment])
