"""Payloads and functions that the files beside this one are about."""

from collections.abc import AsyncIterator, Iterator

from msgspec import Struct

from penstock.models import Prediction


class Occurrence(Struct, frozen=True):
    """What every event has."""

    id: str


class Payment(Occurrence, frozen=True):
    """A kind of occurrence."""

    card: str
    amount: float


class Refund(Occurrence, frozen=True):
    """Another kind of occurrence."""

    payment: str


class Profile(Struct, frozen=True):
    """What the store knows about a card."""

    limit: float


class Features(Struct, frozen=True):
    """What the model asks for."""

    amount: float


class Decision(Struct, frozen=True):
    """What goes out."""

    block: bool


def in_euros(payment: Payment) -> Payment:
    """A plain function."""
    return payment


async def refunded(payment: Payment) -> Refund:
    """A coroutine function."""
    return Refund(payment.id, payment.id)


def parts(payment: Payment) -> Iterator[Refund]:
    """A generator function."""
    yield Refund(payment.id, payment.id)


async def streamed(payment: Payment) -> AsyncIterator[Refund]:
    """An asynchronous generator function."""
    yield Refund(payment.id, payment.id)


def identity(occurrence: Occurrence) -> str:
    """A function of what every event is."""
    return occurrence.id


def features(payment: Payment, profile: Profile) -> Features:
    """A function that asks for a name."""
    return Features(min(payment.amount, profile.limit))


def decide(payment: Payment, *, prediction: Prediction) -> Decision | None:
    """A function that asks for a name by keyword only."""
    return Decision(True) if prediction.value > 0.5 else None


def is_big(payment: Payment) -> bool:
    """A predicate."""
    return payment.amount > 100


async def is_known(payment: Payment, profile: Profile) -> bool:
    """A predicate that waits."""
    return profile.limit > 0


def doubles(payments: list[Payment]) -> list[Refund]:
    """A function of lists."""
    return [Refund(payment.id, payment.id) for payment in payments]


async def doubles_later(payments: list[Payment], profile: list[Profile]) -> list[Refund]:
    """A coroutine function of lists."""
    return [Refund(payment.id, payment.id) for payment in payments]
