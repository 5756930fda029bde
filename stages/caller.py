"""Calling a user's function with options: a time-out, a default, a cache, a thread, lists of many events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Protocol

from penstock.errors import Unavailable
from penstock.stages.function import MISSING
from penstock.stages.helper import Asker, Failure
from penstock.stages.outcome import Reject, Retry
from penstock.stages.streak import Streak

_CACHED = 10_000


class Time(Protocol):
    """What callers need of the engine's clock."""

    def monotonic(self) -> float: ...

    def timeout(self, delay: float) -> AbstractAsyncContextManager[Any]: ...


def limit(timeout: float | None, by: float | None, now: float) -> float | None:
    """Seconds a step may take: its own time-out, or what is left until the moment `by`, whichever is shorter."""
    if by is None:
        return timeout
    left = max(by - now, 0.0)
    return left if timeout is None else min(timeout, left)


class Caller:
    """One function with options, opened. A question is the tuple of its arguments, payload first."""

    def __init__(
        self,
        target: Callable[..., Any],
        takes: Sequence[str],
        *,
        clock: Time,
        coroutine: bool,
        timeout: float | None = None,
        default: Any = MISSING,
        cache: float | None = None,
        thread: bool = False,
        name: str = "",
        streak: bool = True,
    ) -> None:
        self.target = target
        self.name = name or getattr(target, "__name__", repr(target))
        self.takes = tuple(takes)
        self.clock = clock
        self.coroutine = coroutine
        self.timeout = timeout
        self.default = default
        self.cache = cache
        self.thread = thread
        self.streak = Streak(f"{self.name}()", clock) if streak and default is MISSING else None
        self._answers: dict[Any, tuple[float, Any]] = {}

    async def ask(self, question: tuple[Any, ...], by: float | None = None) -> Any:
        """The function's result, the cached one, or the default where it failed or took too long.

        What the function says on purpose (`Reject`, `Retry`) has no default. Where distinct questions meet nobody in a
        row, it is an outage for a while: `Unavailable`.
        """
        if self.cache is not None:
            found = self._answers.get(_hashable(question))
            if found is not None and found[0] > self.clock.monotonic():
                return found[1]
        try:
            answer = await self._within(question, limit(self.timeout, by, self.clock.monotonic()))
        except (Reject, Retry):
            raise
        except Exception as error:
            if self.default is not MISSING:
                return self.default
            judged = error if self.streak is None else self.streak.judge(_hashable(question), error)
            if judged is error:
                raise
            raise judged from error
        if self.streak is not None and self.streak.failed:
            self.streak.succeeded()
        if self.cache is not None:
            self._keep(_hashable(question), answer)
        return answer

    async def _within(self, question: tuple[Any, ...], delay: float | None) -> Any:
        if delay is None or not (self.coroutine or self.thread):
            return await self._run(question)
        try:
            async with self.clock.timeout(delay):
                return await self._run(question)
        except TimeoutError as error:
            if error.args:  # the function's own
                raise
            raise TimeoutError(f"{self.name}() took longer than {delay:g} s") from None

    async def _run(self, question: tuple[Any, ...]) -> Any:
        call = partial(self.target, question[0], **dict(zip(self.takes, question[1:], strict=True)))
        if self.coroutine:
            return await call()
        if self.thread:
            return await asyncio.get_running_loop().run_in_executor(None, call)
        return call()

    def _keep(self, key: Any, answer: Any) -> None:
        assert self.cache is not None
        if len(self._answers) >= _CACHED:  # the oldest answer makes room: dicts keep the order of insertion
            del self._answers[next(iter(self._answers))]
        self._answers[key] = (self.clock.monotonic() + self.cache, answer)


class ListCaller:
    """One function of lists, opened: everything asked in one loop tick is one call of at most `max` events.

    A list that fails is halved until the guilty event stands alone; every other event of it succeeds. An outage is
    nobody's guilt: it is every event's answer at once.
    """

    def __init__(
        self,
        target: Callable[..., Any],
        takes: Sequence[str],
        *,
        clock: Time,
        coroutine: bool,
        max: int,
        timeout: float | None = None,
        thread: bool = False,
    ) -> None:
        name = getattr(target, "__name__", repr(target))
        self.one = Caller(
            self._call, (), clock=clock, coroutine=coroutine, timeout=timeout, thread=thread, name=name, streak=False
        )
        self.target = target
        self.takes = tuple(takes)
        self.max = max
        self._waiting: list[tuple[tuple[Any, ...], asyncio.Future[Any]]] = []
        self._running: set[asyncio.Task[None]] = set()

    def ask(self, question: tuple[Any, ...], by: float | None = None) -> Awaitable[Any]:
        """The event's own result of the list it becomes part of."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._start)
        self._waiting.append((question, future))
        return future

    async def ask_many(self, questions: Sequence[tuple[Any, ...]], by: float | None = None) -> list[Any]:
        """Results in order, a `Failure` in the place of each event that makes its list fail. Raises `Unavailable`."""
        answers: list[Any] = []
        for start in range(0, len(questions), self.max):
            answers += await self._list(questions[start : start + self.max])
        return answers

    def _start(self) -> None:
        waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), self.max):
            task = asyncio.ensure_future(self._settle(waiting[start : start + self.max]))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _settle(self, waiting: list[tuple[tuple[Any, ...], asyncio.Future[Any]]]) -> None:
        try:
            answers = await self._list([question for question, _ in waiting])
        except Unavailable as outage:
            answers = [Failure(outage)] * len(waiting)
        for (_, future), answer in zip(waiting, answers, strict=True):
            if future.done():
                continue
            if answer.__class__ is Failure:
                future.set_exception(answer.error)
            else:
                future.set_result(answer)

    async def _list(self, questions: Sequence[tuple[Any, ...]]) -> list[Any]:
        try:
            answers: list[Any] = await self.one.ask((questions,))
            return answers
        except Unavailable:
            raise
        except Exception as error:
            if len(questions) == 1:
                return [Failure(error)]
            half = len(questions) // 2
            first, second = await asyncio.gather(self._half(questions[:half]), self._half(questions[half:]))
            return [*first, *second]

    async def _half(self, questions: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Part of a list that failed. An outage that begins meanwhile is this part's alone: the other has answers."""
        try:
            return await self._list(questions)
        except Unavailable as outage:
            return [Failure(outage)] * len(questions)

    def _call(self, questions: Sequence[tuple[Any, ...]]) -> Any:
        payloads, *names = (list(column) for column in zip(*questions, strict=True))
        found = self.target(payloads, **dict(zip(self.takes, names, strict=True)))
        return self._awaited(found, len(payloads)) if self.one.coroutine else _counted(found, len(payloads))

    async def _awaited(self, found: Awaitable[Any], wanted: int) -> Any:
        return _counted(await found, wanted)


class Bounded:
    """A helper with a default, bounded by the latency budget: what comes too late is the default instead."""

    def __init__(self, asker: Asker, default: Any, clock: Time) -> None:
        self.asker = asker
        self.default = default
        self.clock = clock

    async def ask(self, question: Any, by: float) -> Any:
        try:
            async with self.clock.timeout(max(by - self.clock.monotonic(), 0.0)):
                return await self.asker.ask(question)
        except TimeoutError:
            return self.default

    async def ask_many(self, questions: Sequence[Any], by: float) -> list[Any]:
        try:
            async with self.clock.timeout(max(by - self.clock.monotonic(), 0.0)):
                return await self.asker.ask_many(questions)
        except TimeoutError:
            return [self.default] * len(questions)


def _counted(results: Any, wanted: int) -> list[Any]:
    found = list(results)
    if len(found) != wanted:
        raise ValueError(
            f"a function of lists returned {len(found)} results for {wanted} events: return one for each, in order"
        )
    return found


def _hashable(question: tuple[Any, ...]) -> Any:
    try:
        hash(question)
    except TypeError:
        return repr(question)
    return question
