"""`filter`, `split`, `of`, `merge`, `pipe` and `end` keep, narrow and join types."""

from typing import assert_type

from typing_extensions import TypeIs

from penstock import Pipeline, Stream, batched, call, merge
from penstock.connectors import Kafka, Redis
from penstock.connectors.memory import Memory
from penstock.pipeline import Graph
from tests.typing.shop import Occurrence, Payment, Refund, doubles, identity, in_euros, is_big, is_known

pipeline = Pipeline("typed")
payments = pipeline.source(Memory("payments"), schema=Payment)
both = pipeline.source(Memory("both"), schema=Payment | Refund)


def is_refund(event: Payment | Refund) -> TypeIs[Refund]:
    """A predicate that narrows."""
    return isinstance(event, Refund)


def is_named(occurrence: Occurrence) -> bool:
    """A predicate of what every event is."""
    return bool(occurrence.id)


assert_type(payments.filter(is_big), Stream[Payment])
assert_type(payments.filter(is_known), Stream[Payment])
assert_type(payments.filter(is_named), Stream[Payment])
assert_type(payments.filter(lambda payment: payment.amount > 1, stage="some"), Stream[Payment])
assert_type(payments.filter(call(is_known, timeout="1s", default=True)), Stream[Payment])
assert_type(both.filter(is_refund), Stream[Refund])

big, small = payments.split(is_big)
assert_type(big, Stream[Payment])
assert_type(small, Stream[Payment])

assert_type(both.of(Refund), Stream[Refund])

assert_type(merge(big, small), Stream[Payment])
joined: Stream[Payment | Refund] = merge(payments, both.of(Refund))
wider: Stream[Occurrence] = merge(payments, both)


def through(stream: Stream[Payment], times: int, *, stage: str = "") -> Stream[str]:
    """A piece of pipeline with settings of its own."""
    return stream.transform(identity, stage=f"{stage}{times}")


def twice(stream: Stream[Payment]) -> tuple[Stream[Payment], Stream[Refund]]:
    """A piece of pipeline that ends in two."""
    return stream.transform(in_euros), stream.transform(batched(doubles))


assert_type(payments.pipe(through, 3, stage="named"), Stream[str])
assert_type(payments.pipe(twice), tuple[Stream[Payment], Stream[Refund]])

assert_type(payments.through(Memory("by-id"), key="id"), Stream[Payment])
assert_type(both.through(Kafka("by-id"), key=lambda occurrence: occurrence.id), Stream[Payment | Refund])
assert_type(both.through(Redis("by-ids"), key=("id", "id"), stage="ids"), Stream[Payment | Refund])

payments.end()
assert_type(pipeline.build(), Graph)
