"""Asking models from a stage: rows from features, deadlines, fallbacks, a challenger's share, a silent shadow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol
from zlib import crc32

from penstock.models.prediction import Prediction
from penstock.stages.caller import Time
from penstock.stages.helper import Failure
from penstock.stages.payload import text_of


class Predictor(Protocol):
    """A loaded model that answers for whatever one loop tick asks, in one run."""

    def predict(self, row: Any) -> Awaitable[Prediction]: ...

    def predict_many(self, rows: Sequence[Any]) -> Awaitable[Sequence[Prediction | BaseException]]: ...


Rows = Callable[[Any], Any]
"""From what the features function returned to one model's row."""


class Inference:
    """One `infer` stage, opened.

    A question is the predictor to ask with its row, or its rows where `many` is set. The challenger gets the keys
    whose hash falls in its share, so that one key always meets the same model.
    """

    def __init__(
        self,
        model: tuple[Predictor, Rows],
        *,
        clock: Time,
        challenger: tuple[Predictor, Rows] | None = None,
        share: float = 0.0,
        shadow: tuple[Predictor, Rows] | None = None,
        many: bool = False,
    ) -> None:
        self.predictor, self.rows = model
        self.clock = clock
        self.challenger = challenger
        self.share = share
        self.shadow = shadow
        self.many = many
        self.alone = challenger is None and shadow is None and not many
        self._shadows: set[asyncio.Future[Any]] = set()

    def question(self, features: Any, key: Any) -> Any:
        """The row to ask about. Raises where the features do not fit the model's inputs."""
        if self.alone:
            return self.rows(features)
        predictor, rows = self.predictor, self.rows
        if self.challenger is not None and crc32(text_of(key).encode()) / 2**32 < self.share:
            predictor, rows = self.challenger
        if self.shadow is not None:
            self._ask_shadow(features)
        return predictor, [rows(one) for one in features] if self.many else rows(features)

    async def ask(self, question: Any, by: float | None = None) -> Any:
        """The prediction, or the list of them where `many` is set. Raises TimeoutError past the moment `by`."""
        if by is None:
            return await self._one(question)
        async with self.clock.timeout(max(by - self.clock.monotonic(), 0.0)):
            return await self._one(question)

    async def ask_many(self, questions: Sequence[Any], by: float | None = None) -> list[Any]:
        """Predictions in order, a `Failure` in the place of each that failed."""
        if by is None:
            return await self._all(questions)
        try:
            async with self.clock.timeout(max(by - self.clock.monotonic(), 0.0)):
                return await self._all(questions)
        except TimeoutError as error:
            return [Failure(error)] * len(questions)

    async def _one(self, question: Any) -> Any:
        if self.alone:
            return await self.predictor.predict(question)
        predictor, row = question
        if not self.many:
            return await predictor.predict(row)
        found = await predictor.predict_many(row)
        for one in found:
            if isinstance(one, BaseException):
                raise one
        return list(found)

    async def _all(self, questions: Sequence[Any]) -> list[Any]:
        if self.alone:
            found = await self.predictor.predict_many(questions)
            return [one if one.__class__ is Prediction else _failure(one) for one in found]
        answers = await asyncio.gather(*(self._one(question) for question in questions), return_exceptions=True)
        return [Failure(one) if isinstance(one, BaseException) else one for one in answers]

    def _ask_shadow(self, features: Any) -> None:
        """Let the shadow model answer too. Nobody hears it, and what it raises is its own affair."""
        assert self.shadow is not None
        predictor, rows = self.shadow
        try:
            asked = asyncio.ensure_future(
                predictor.predict_many([rows(one) for one in (features if self.many else [features])])
            )
        except Exception:
            return
        self._shadows.add(asked)
        asked.add_done_callback(self._heard)

    def _heard(self, asked: asyncio.Future[Any]) -> None:
        self._shadows.discard(asked)
        if not asked.cancelled():
            asked.exception()


def fallen(error: BaseException, answer: Any) -> Prediction:
    """A fallback's answer as a prediction that is marked so, with the reason.

    >>> fallen(TimeoutError(), 0.5).fallback
    'deadline'
    """
    reason = "deadline" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"
    if isinstance(answer, Prediction):
        return Prediction(answer.value, answer.label, answer.scores, answer.model, answer.version, reason)
    if isinstance(answer, str):
        return Prediction(0.0, answer, fallback=reason)
    return Prediction(float(answer), fallback=reason)


def _failure(one: Any) -> Any:
    return Failure(one) if isinstance(one, BaseException) else one
