"""What does not fit the stream is refused where it is written."""

from typing_extensions import TypeIs

from penstock import Pipeline, Stream, batched, call, merge
from penstock.connectors import Mqtt
from penstock.connectors.memory import Memory
from tests.typing.shop import Occurrence, Payment, Refund, doubles, in_euros, is_big

pipeline = Pipeline("typed")
payments = pipeline.source(Memory("payments"), schema=Payment)
refunds = pipeline.source(Memory("refunds"), schema=Refund)


def refund_only(refund: Refund) -> Refund:
    """A function of refunds."""
    return refund


def is_small(refund: Refund) -> bool:
    """A predicate of refunds."""
    return bool(refund.id)


def amount(payment: Payment) -> float:
    """No predicate."""
    return payment.amount


def is_refund(event: Refund) -> TypeIs[Refund]:
    """A narrowing predicate of refunds."""
    return bool(event)


def nothing() -> float:
    """A function without a place for the payload."""
    return 0.0


def keyword_only(*, payment: Payment) -> float:
    """A function whose payload has no position."""
    return payment.amount


payments.transform(refund_only)  # error
payments.transform(nothing)  # error
payments.transform(keyword_only)  # error
payments.transform("in_euros")  # error
payments.transform(call(refund_only))  # error
payments.transform(in_euros, retry=3)  # error
payments.transform(in_euros, name="x")  # error
refunds.transform(batched(doubles))  # error
payments.filter(is_small)  # error
payments.filter(amount)  # error
payments.filter(is_refund)  # error
payments.split(is_small)  # error
payments.split(amount)  # error
payments.of("Refund")  # error
payments.pipe(lambda stream, more: stream)  # error
refunds.filter(is_big)  # error


def piece(stream: Stream[Payment], times: int) -> Stream[Payment]:
    """A piece of pipeline with a setting."""
    return stream


payments.pipe(piece)  # error
payments.pipe(piece, "three")  # error
payments.pipe(piece, times=3, more=4)  # error
refunds.pipe(piece, 3)  # error

payments.through(Memory("by-id"))  # error
payments.through(Memory("by-id"), key=None)  # error
payments.through("by-id", key="id")  # error
payments.through(Mqtt("by-id"), key="id")  # error
payments.through(Memory("by-id"), key=is_small)  # error

narrow: Stream[Payment] = merge(payments, refunds)  # error
deeper: Stream[Payment] = pipeline.source(Memory("all"), schema=Occurrence)  # error
assigned: Stream[str] = payments.transform(in_euros)  # error
ended: Stream[Payment] = payments.end()  # error
