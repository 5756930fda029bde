"""The small world that declarations in these tests are about: payloads, functions, endpoints."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from penstock import Pipeline
from penstock.connectors import Store
from penstock.connectors.memory import Memory
from penstock.models import Prediction
from penstock.pipeline.graph import Function, Node, Transform

IN = Memory("payments")
OUT = Memory("decisions")


class Owner(Struct, frozen=True):
    id: str


class Payment(Struct, frozen=True):
    id: str
    card: str
    amount: float
    at: float | None = None
    owner: Owner | None = None


class Refund(Struct, frozen=True):
    id: str
    payment: str


class Login(Struct, frozen=True, tag=True):
    user: str


class Logout(Struct, frozen=True, tag=True):
    user: str


class Profile(Struct, frozen=True):
    limit: float = 0.0


@dataclass(frozen=True)
class Decision:
    block: bool
    region: str = ""


@dataclass(frozen=True)
class Finding:
    """An enrich helper that is only declared."""

    answer: Any = Profile
    fields: tuple[str, ...] = ("card",)

    def open(self, store: Store) -> Any:
        raise AssertionError("this one is only declared")


def same(payment: Payment) -> Payment:
    return payment


def double(payment: Payment) -> Payment:
    return Payment(payment.id, payment.card, payment.amount * 2)


async def later(payment: Payment) -> Payment:
    return payment


def parts(payment: Payment) -> Iterator[Payment]:
    yield payment


async def streamed(payment: Payment) -> AsyncIterator[Payment]:
    yield payment


def many(payment: Payment) -> list[Payment]:
    return [payment]


def maybe(payment: Payment) -> Payment | None:
    return payment if payment.amount else None


def big(payment: Payment) -> bool:
    return payment.amount > 100


def decide(payment: Payment) -> Decision | None:
    return Decision(True) if payment.amount > 100 else None


def judge(payment: Payment, profile: Profile) -> Decision:
    return Decision(payment.amount > profile.limit)


def rated(payment: Payment, prediction: Prediction) -> Decision:
    return Decision(prediction.value > 0.5)


def profile_of(payment: Payment) -> Profile:
    return Profile()


def payments(pipeline: Any) -> Any:
    """The source that most of these pipelines have; what follows is not type checked, as its mistakes are meant."""
    return pipeline.source(IN, schema=Payment, key="card")


def wired(node: Node) -> Function:
    """The function of a transform, as it was wired."""
    assert isinstance(node, Transform)
    assert node.function is not None
    return node.function


def node(pipeline: Pipeline, stage: str) -> Node:
    """The node of a stage."""
    return next(node for node in pipeline.build() if node.stage == stage)
