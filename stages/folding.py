"""A `state` at work: read, the user's function, a versioned write under the event's guard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from uuid import uuid4

from penstock.connectors import Store
from penstock.connectors.guard import FOLD, UNKNOWN, Update, Updated
from penstock.connectors.mark import Mark
from penstock.errors import PenstockError
from penstock.stages.helper import Failure
from penstock.stages.outcome import Reject
from penstock.stages.packing import packing
from penstock.stages.payload import getter, text_of

if TYPE_CHECKING:
    from penstock.stages.state import State

KNOWN = 10_000
"""Values of one stage that a process remembers, so that most updates are one request."""

TRIES = 100
"""How often an update is tried while other processes change the same value; each time one of them got ahead."""


class Contended(PenstockError):
    """Other processes changed the same value again and again. The event is tried again as its retries say."""


class Change(NamedTuple):
    """Whose state an event changes, and what with."""

    key: str
    payload: Any


Question: TypeAlias = tuple[Change, Mark]
"""A change, and the mark of its event beside it."""


class Cell:
    """What this process takes a value to be: as the store said, or as its own last update leaves it.

    An update is computed upon the one before it and sent without waiting for that one's reply. When one fails, all that
    were computed upon it find another version than they expect; the cell is then replaced by a new one.
    """

    __slots__ = ("packed", "version")

    def __init__(self, version: str, packed: bytes | None) -> None:
        self.version = version
        self.packed = packed


class Attempt(NamedTuple):
    """One question on its way: upon which cell its update was computed, and the new value.

    It only reads where there is no cell, or where the user's function raised `error` upon the version `base`: the event
    may have been here before, and the value may be another one by now.
    """

    at: int
    key: str
    update: Update
    cell: Cell | None = None
    value: Any = None
    base: str = ""
    error: Exception | None = None


class Folding:
    """An asker whose questions are updates. Each answer is the value as the event left it."""

    def __init__(self, declared: State[Any], store: Store, space: str) -> None:
        self._declared = declared
        self._store = store
        self._space = space
        self._key = key_of(declared.by)
        self._pack, self._unpack = packing(declared.kind)
        self._horizon = round(declared.horizon)
        self._cells: dict[str, Cell] = {}
        # Unique among all processes there ever are: a version that was lost with its write must not come again.
        self._process, self._number = uuid4().hex[:12], count()

    def question(self, payload: Any) -> Change:
        """Whose value, and what changes it. Raises `Reject` where the payload does not say whose."""
        return Change(self._key(payload), payload)

    async def ask(self, question: Question) -> Any:
        """The value after this event. Raises what the user's function raised, and `Unavailable` in an outage."""
        [answer] = await self.ask_many([question])
        if answer.__class__ is Failure:
            raise answer.error
        return answer

    async def ask_many(self, questions: Sequence[Question]) -> list[Any]:
        """The values after these events, in order. What one tick asks for is one request."""
        answers: list[Any] = [None] * len(questions)
        left = list(range(len(questions)))
        for _ in range(TRIES):
            attempts = []
            for at in left:
                try:
                    change, mark = questions[at]
                    done = mark.results.get(self._result(mark))
                    if done is None:
                        attempts.append(self._attempt(at, change, mark))
                    else:
                        answers[at] = self._read(change.key, done)
                except Exception as error:
                    answers[at] = Failure(error)
            if not attempts:
                return answers
            left = []
            for attempt, updated in zip(attempts, await self._send(attempts), strict=True):
                try:
                    if updated.verdict == "conflict" and attempt.error and updated.version.decode() == attempt.base:
                        answers[attempt.at] = Failure(attempt.error)
                    elif updated.verdict == "conflict" and _reads(attempt.update.mark):
                        answers[attempt.at] = self._end(attempt, updated)
                    elif updated.verdict == "conflict":
                        self._learn(attempt, updated)
                        left.append(attempt.at)
                    else:
                        answers[attempt.at] = self._end(attempt, updated)
                except Exception as error:
                    answers[attempt.at] = Failure(error)
        for at in left:
            answers[at] = Failure(Contended(f"{self._space}{questions[at][0].key} was changed by others {TRIES} times"))
        return answers

    def _attempt(self, at: int, change: Change, mark: Mark) -> Attempt:
        key, cell = change.key, self._cells.get(change.key)
        version = f"{self._process}{next(self._number):x}"
        if cell is None or _reads(mark):
            return Attempt(at, key, self._update(key, mark, UNKNOWN, version, b""))
        before, base = None if cell.packed is None else self._read(key, cell.packed), cell.version
        try:
            packed = self._pack(self._declared.update(before, change.payload))
            # Read back before it is kept: a value of another type must fail this event, not all that follow.
            value = self._unpack(packed)
        except Exception as error:
            return Attempt(at, key, self._update(key, mark, UNKNOWN, version, b""), cell, base=base, error=error)
        cell.version, cell.packed = version, packed
        return Attempt(at, key, self._update(key, mark, base, version, packed), cell, value)

    def _update(self, key: str, mark: Mark, expected: str, version: str, packed: bytes) -> Update:
        return Update(self._space + key, mark, FOLD, (expected, version, packed), horizon=self._horizon)

    async def _send(self, attempts: Sequence[Attempt]) -> list[Updated]:
        try:
            return await self._store.update([attempt.update for attempt in attempts])
        except BaseException:
            # Whether they were done is not known.
            for attempt in attempts:
                self._forget(attempt)
            raise

    def _end(self, attempt: Attempt, updated: Updated) -> Any:
        mark = attempt.update.mark
        if updated.verdict != "applied":
            self._forget(attempt)
        if updated.verdict == "foreign" or updated.result is None:
            raise Reject(
                f"{attempt.update.key} is not what this stage keeps: {(updated.result or b'it is gone').decode()}"
            )
        if not _reads(mark):
            mark.results[self._result(mark)] = updated.result
        return attempt.value if updated.verdict == "applied" else self._read(attempt.key, updated.result)

    def _learn(self, attempt: Attempt, updated: Updated) -> None:
        """Go on from what the store has, unless somebody already does."""
        key = attempt.key
        if self._cells.get(key) is attempt.cell:
            self._cells.pop(key, None)
            if len(self._cells) >= KNOWN:
                del self._cells[next(iter(self._cells))]
            self._cells[key] = Cell(updated.version.decode(), updated.result)

    def _forget(self, attempt: Attempt) -> None:
        if attempt.cell is not None and self._cells.get(attempt.key) is attempt.cell:
            del self._cells[attempt.key]

    def _read(self, key: str, packed: bytes) -> Any:
        try:
            return self._unpack(packed)
        except ValueError as error:
            raise Reject(f"{self._space}{key} holds what is no {self._declared.kind}: {error}") from None

    def _result(self, mark: Mark) -> str:
        return self._space + mark.path


def _reads(mark: Mark) -> bool:
    return not mark.origin and not mark.id


def key_of(by: Any) -> Callable[[Any], str]:
    """A function from payload to the text of its key. It raises `Reject` where a field is missing or null.

    >>> key_of(("card", "shop.id"))({"card": 7, "shop": {"id": "a"}})
    '7|a'
    """
    of_objects, of_mappings = getter(by, False), getter(by, True)
    named = by if isinstance(by, str | tuple) else getattr(by, "__name__", "by")

    def read(payload: Any) -> str:
        try:
            found = of_mappings(payload) if isinstance(payload, Mapping) else of_objects(payload)
        except (AttributeError, KeyError, TypeError) as error:
            if callable(by):
                raise
            raise Reject(f"the state's key {named} needs {error}, which the payload does not have") from None
        if found is None or (isinstance(found, tuple) and None in found):
            raise Reject(f"the state's key {named} is null")
        return text_of(found)

    return read
