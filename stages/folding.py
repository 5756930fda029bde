"""A `state` at work: read, the user's function, a versioned write under the event's guard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import uuid4

from penstock.connectors import Store
from penstock.connectors.mark import Mark
from penstock.connectors.store.guard import VALUE, Cell, Swap
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


Change: TypeAlias = tuple[str, Any]
"""Whose state an event changes, and its payload, which it is changed with."""

Question: TypeAlias = tuple[Change, Mark]
"""A change, and the mark of its event beside it."""


Attempt: TypeAlias = tuple[int, Mark, Cell, bytes | None]
"""One question on its way: its number, upon which cell it was decided, and what its update came to, packed.

An event that was here before, and one that the user's function refused, change nothing. They are asked about all the
same where they were decided upon what the store may not have: the value may be another one by now.
"""


class Folding:
    """An asker whose questions are updates. Each answer is the value as the event left it."""

    def __init__(self, declared: State[Any], store: Store, space: str) -> None:
        self._declared = declared
        self._store = store
        self._space = space
        self._key = key_of(declared.by)
        self._update = declared.update
        self._pack, self._unpack = packing(declared.kind)
        self._horizon = round(declared.horizon)
        self._cells: dict[str, Cell] = {}
        # Unique among all processes there ever are: a version that was lost with its write must not come again.
        self._process, self._number = uuid4().hex[:12].encode(), count()

    def forget(self) -> None:
        """Take nothing for known any more: the store may have lost the last it was told."""
        self._cells.clear()

    def question(self, payload: Any) -> Change:
        """Whose value, and what changes it. Raises `Reject` where the payload does not say whose."""
        return self._key(payload), payload

    async def ask(self, question: Question) -> Any:
        """The value after this event. Raises what the user's function raised, and `Unavailable` in an outage."""
        [answer] = await self.ask_many([question])
        if answer.__class__ is Failure:
            raise answer.error
        return answer

    async def ask_many(self, questions: Sequence[Question]) -> list[Any]:
        """The values after these events, in order. What one tick asks for is one request, with one before it for values
        that this process does not know yet.
        """
        answers: list[Any] = [None] * len(questions)
        left: Sequence[int] = range(len(questions))
        for _ in range(TRIES):
            await self._read_cells(questions if len(left) == len(questions) else [questions[at] for at in left])
            attempts, swaps = self._decide(left, questions, answers)
            if not swaps:
                return answers
            left = await self._send(attempts, swaps)
            if not left:
                return answers
        for at in left:
            key = questions[at][0][0]
            answers[at] = Failure(Contended(f"{self._space}{key} was changed by others {TRIES} times"))
        return answers

    async def _read_cells(self, questions: Sequence[Question]) -> None:
        """Make sure that all of these values are known, but those whose keys hold something else."""
        cells = self._cells
        wrong: set[str] = set()
        # Again, for what was known before the store was asked may be forgotten when it has answered.
        while asked := [
            key for (key, _), mark in questions if key not in cells and key not in wrong and self._done(mark) is None
        ]:
            unknown = list(dict.fromkeys(asked))
            found = await self._store.read_maps([self._space + key for key in unknown])
            for key, fields in zip(unknown, found, strict=True):
                if fields is None:
                    wrong.add(key)
                elif key not in cells:  # another task may have read it meanwhile, and gone on from there
                    if len(cells) >= KNOWN:
                        del cells[next(iter(cells))]
                    cells[key] = Cell(self._space + key, fields)

    def _done(self, mark: Mark) -> bytes | None:
        """What the event's own update came to, where it knows that itself."""
        return mark.results.get(self._space + mark.path) if mark.results else None

    def _decide(
        self, left: Sequence[int], questions: Sequence[Question], answers: list[Any]
    ) -> tuple[list[Attempt], list[Swap]]:
        """What these questions are answered if the store agrees, and what it is asked. This runs for every event."""
        cells, unpack, pack, update = self._cells, self._unpack, self._pack, self._update
        process, number, now, horizon = self._process, self._number, self._store.second(), self._horizon
        attempts: list[Attempt] = []
        swaps: list[Swap] = []
        for at in left:
            (key, payload), mark = questions[at]
            cell, packed = cells.get(key), None
            try:
                if mark.results and (done := self._done(mark)) is not None:
                    answers[at] = self._read(key, done)
                    continue
                if cell is None:
                    raise Reject(f"{self._space}{key} is not what this stage keeps: it holds another kind of value")
                packed = cell.seen(mark) if mark.origin or mark.id else self._as_it_is(cell)
                if packed is None:
                    value = cell.fields.get(VALUE)
                    packed = pack(update(None if value is None else self._read(key, value), payload))
                    # Read back before it is kept: a value of another type must fail this event, not all that follow.
                    answers[at] = unpack(packed)
                    swap = cell.put(mark, packed, b"%b%x" % (process, next(number)), now=now, horizon=horizon)
                else:
                    answers[at] = self._read(key, packed)
                    if not cell.pending:
                        mark.results[self._space + mark.path] = packed
                        continue
                    swap = cell.check()
            except Exception as error:
                answers[at], packed = Failure(error), None
                if cell is None:
                    continue
                swap = cell.check()
            # From now on, and not only from when it is sent: the same event may follow in the same request.
            cell.pending += 1
            attempts.append((at, mark, cell, packed))
            swaps.append(swap)
        return attempts, swaps

    def _as_it_is(self, cell: Cell) -> bytes:
        """What an event gets that counts for nothing here, for it was counted before."""
        if cell.value is None:
            raise Reject(f"{cell.key}: the event was counted before, and the state is gone")
        return cell.value

    async def _send(self, attempts: Sequence[Attempt], swaps: Sequence[Swap]) -> list[int]:
        """Have the store agree; the questions to which it did not."""
        try:
            agreed = await self._store.swap(swaps)
        except BaseException:
            # Whether they were done is not known.
            for _, _, cell, _ in attempts:
                self._forget(cell)
            raise
        finally:
            for _, _, cell, _ in attempts:
                cell.pending -= 1
        denied = []
        space = self._space
        for (at, mark, cell, packed), fine in zip(attempts, agreed, strict=True):
            if not fine:
                self._forget(cell)
                denied.append(at)
                mark.floor = ""  # it may have been too high for what the store knows
            elif packed is not None:
                mark.results[space + mark.path] = packed
        return denied

    def _forget(self, cell: Cell) -> None:
        key = cell.key.removeprefix(self._space)
        if self._cells.get(key) is cell:
            del self._cells[key]

    def _read(self, key: str, packed: bytes) -> Any:
        try:
            return self._unpack(packed)
        except ValueError as error:
            raise Reject(f"{self._space}{key} holds what is no {self._declared.kind}: {error}") from None


def key_of(by: Any) -> Callable[[Any], str]:
    """A function from payload to the text of its key. It raises `Reject` where a field is missing or null.

    >>> key_of(("card", "shop.id"))({"card": 7, "shop": {"id": "a"}})
    '7|a'
    """
    of_objects, of_mappings = getter(by, False), getter(by, True)
    named = by if isinstance(by, str | tuple) else getattr(by, "__name__", "by")
    kinds: dict[type, Callable[[Any], Any]] = {}

    def read(payload: Any) -> str:
        kind = payload.__class__
        find = kinds.get(kind)
        if find is None:
            find = kinds[kind] = of_mappings if isinstance(payload, Mapping) else of_objects
        try:
            found = find(payload)
        except (AttributeError, KeyError, TypeError) as error:
            if callable(by):
                raise
            raise Reject(f"the state's key {named} needs {error}, which the payload does not have") from None
        if found.__class__ is str:
            return found
        if found is None or (isinstance(found, tuple) and None in found):
            raise Reject(f"the state's key {named} is null")
        return text_of(found)

    return read
