"""Many events, one run: whatever asks within one turn of the event loop is answered together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from time import thread_time
from typing import Protocol, TypeAlias

import msgspec

from penstock.models.prediction import Prediction
from penstock.models.rows import Row
from penstock.models.session import Cost

Answer: TypeAlias = Prediction | BaseException
"""What became of one row: its prediction, or the exception that is its own."""

BLOCKING = 0.001
"""Seconds a run may hold the event loop; what is expected to take longer goes to a thread."""


class Runnable(Protocol):
    """What answers rows: a `Model`, or another of the same shape."""

    @property
    def cost(self) -> Cost: ...

    def run(self, rows: Sequence[Row]) -> list[Prediction]: ...


class Statistics(msgspec.Struct, frozen=True):
    """What a batcher has done so far.

    `mean_batch` is the rows of an average run; `seconds` what the last run took, and `threaded` whether it left the
    loop's thread.
    """

    runs: int
    rows: int
    failed: int
    waiting: int
    mean_batch: float
    seconds: float
    threaded: bool


class Batcher:
    """Asks one model on behalf of one event loop.

    - `max_batch`: rows of one run at most.
    - `max_wait`: seconds to wait for more rows; 0 takes what asks in the same turn of the loop, so one event
      alone is not delayed.
    - `executor`: where long runs go; the loop's default executor if None.

    A run is made on the loop's thread while it is expected to be short (`BLOCKING`), else on an executor's, where
    ONNX Runtime does not hold the interpreter's lock; meanwhile the next rows gather. What is expected follows the
    model's measured cost and a moving average of how real runs compare with it.
    A run that fails is halved until the guilty row stands alone; all others are answered, once.
    """

    def __init__(
        self, model: Runnable, *, max_batch: int = 128, max_wait: float = 0.0, executor: Executor | None = None
    ) -> None:
        self.model = model
        self.max_batch = max_batch
        self.max_wait = max_wait
        self._executor = executor
        self._rows: list[Row] = []
        self._futures: list[asyncio.Future[Prediction]] = []
        self._timer: asyncio.Handle | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._pace = 1.0
        self._runs = self._answered = self._failed = 0
        self._seconds = 0.0
        self._threaded = False

    def predict(self, row: Row) -> asyncio.Future[Prediction]:
        """Ask for one row, together with all that ask now. The future may be cancelled; the others do not notice."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Prediction] = loop.create_future()
        self._rows.append(row)
        self._futures.append(future)
        if self._timer is None:
            self._timer = loop.call_later(self.max_wait, self._flush) if self.max_wait else loop.call_soon(self._flush)
        elif self.max_wait and len(self._rows) == self.max_batch:
            self._timer.cancel()
            self._timer = loop.call_soon(self._flush)
        return future

    async def predict_many(self, rows: Sequence[Row]) -> list[Answer]:
        """Ask for rows that belong together, in order; in the place of one that failed stands its exception.

        Does not suspend where the run is short.
        """
        answers: list[Answer] = []
        for start in range(0, len(rows), self.max_batch):
            part = rows[start : start + self.max_batch]
            answers += await self._in_thread(part) if self._is_long(len(part)) else self._here(part)
        return answers

    def statistics(self) -> Statistics:
        """Runs and rows so far, rows waiting now, and the last run."""
        mean = self._answered / self._runs if self._runs else 0.0
        return Statistics(
            self._runs, self._answered, self._failed, len(self._rows), mean, self._seconds, self._threaded
        )

    async def close(self) -> None:
        """Wait until everything asked so far is answered."""
        if self._timer is not None:
            self._timer.cancel()
            self._flush()
        while self._running:
            await asyncio.wait(self._running)

    def _flush(self) -> None:
        self._timer = None
        rows, self._rows = self._rows, []
        futures, self._futures = self._futures, []
        for start in range(0, len(rows), self.max_batch):
            part, asking = rows[start : start + self.max_batch], futures[start : start + self.max_batch]
            if self._is_long(len(part)):
                task = asyncio.get_running_loop().create_task(self._answer_later(part, asking))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            else:
                _tell(asking, self._here(part))

    async def _answer_later(self, rows: Sequence[Row], futures: Sequence[asyncio.Future[Prediction]]) -> None:
        try:
            answers = await self._in_thread(rows)
        except Exception as error:  # an executor that takes nothing any more: who asked must not wait for ever
            answers = [error] * len(futures)
        _tell(futures, answers)

    def _is_long(self, rows: int) -> bool:
        """Whether a run of so many rows should leave the loop's thread. It comes back only at half the limit."""
        cost = self.model.cost
        expected = self._pace * (cost.run + cost.row * rows)
        return expected > (BLOCKING / 2 if self._threaded else BLOCKING)

    def _here(self, rows: Sequence[Row]) -> list[Answer]:
        start = thread_time()
        answers, failed = _answer(self.model, rows)
        self._note(len(rows), failed, thread_time() - start, threaded=False)
        return answers

    async def _in_thread(self, rows: Sequence[Row]) -> list[Answer]:
        answers, failed, seconds = await asyncio.get_running_loop().run_in_executor(
            self._executor, _timed_answer, self.model, rows
        )
        self._note(len(rows), failed, seconds, threaded=True)
        return answers

    def _note(self, rows: int, failed: int, seconds: float, *, threaded: bool) -> None:
        self._runs += 1
        self._answered += rows
        self._failed += failed
        self._seconds = seconds
        self._threaded = threaded
        expected = self.model.cost.run + self.model.cost.row * rows
        if not failed and expected:
            # A tenth of each run, at most fourfold: one interruption by the machine must not look like a slow model.
            self._pace += 0.1 * (min(seconds / expected, 4 * self._pace) - self._pace)


def _tell(futures: Sequence[asyncio.Future[Prediction]], answers: Sequence[Answer]) -> None:
    for future, answer in zip(futures, answers, strict=True):
        if future.done():
            continue
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)


def _timed_answer(model: Runnable, rows: Sequence[Row]) -> tuple[list[Answer], int, float]:
    start = thread_time()
    answers, failed = _answer(model, rows)
    return answers, failed, thread_time() - start


def _answer(model: Runnable, rows: Sequence[Row]) -> tuple[list[Answer], int]:
    """Every row's answer, and how many of them are failures."""
    try:
        answers: list[Answer] = list(model.run(rows))
        if len(answers) != len(rows):
            raise ValueError(f"{model!r} answers {len(rows)} rows with {len(answers)} predictions")
    except Exception as error:  # whatever a row does to the runtime is that row's failure, and must not be others'
        if len(rows) == 1:
            return [error], 1
        middle = len(rows) // 2
        first, failed_first = _answer(model, rows[:middle])
        second, failed_second = _answer(model, rows[middle:])
        return first + second, failed_first + failed_second
    return answers, 0
