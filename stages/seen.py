"""`seen`: whether an event that says the same has been here before, and was finished."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol
from uuid import uuid4

import msgspec

from penstock.connectors import Batch, Store
from penstock.connectors.duration import D, seconds
from penstock.errors import DeclarationError
from penstock.stages.helper import Failure
from penstock.stages.outcome import Reject, Wait
from penstock.stages.payload import By, getter, is_mapping, text_of

PAUSE = 0.25
"""Seconds until an event that waits for another one asks again."""

CLAIM = 60.0
"""Seconds for which a claim stands that nobody renews."""

CLAIMED, DONE = b"c", b"d"

_PROCESS = uuid4().hex


class Seen(msgspec.Struct, frozen=True):
    """The declaration that `seen` returns: frozen data, an enrich helper. Without `by`, the event's identity counts."""

    by: By | None
    within: float

    @property
    def answer(self) -> Any:
        """The type that functions see."""
        return bool

    @property
    def fields(self) -> tuple[str, ...]:
        """The payload's fields that are compared."""
        return (self.by,) if isinstance(self.by, str) else self.by if isinstance(self.by, tuple) else ()

    def open(self, store: Store) -> Any:
        """A claim belongs to a record, which `Seeing` is told of."""
        raise TypeError("seen() is opened by the engine, with the claims of its process")


def seen(by: By, *, within: D) -> Seen:
    """Whether an event with the same `by` has been finished `within` that time, by whichever process.

    - `by`: what makes two events the same: a field of the payload, a tuple of fields, or a function of the payload.
    - `within`: how long an event is remembered after it was finished.

    The first event claims `by`, and what it claimed is marked as done when it is finished: when its actions are
    confirmed, or it is a dead letter. An event that finds `by` done has `True`. One that finds it claimed by another
    event waits, and its key with it, until that one is finished. A record that is read again after a crash finds its
    own claim and goes on, so that no crash loses it; a claim whose process is gone ends after a minute.

    >>> seen("id", within="1h").within
    3600.0
    """
    try:
        length = seconds(within)
    except ValueError as error:
        raise DeclarationError(f"seen(within=): {error}") from None
    if length <= 0:
        raise DeclarationError(f"seen(within={within!r}): say for how long an event is remembered, for example '1h'")
    return Seen(by, length)


class Claims(Protocol):
    """Who is told of the claims that this process holds."""

    def hold(self, batch: Batch, index: int, key: str, owner: bytes, within: float) -> None: ...


class Question:
    """What is asked about one event: the key in the store, who asks, and its record."""

    __slots__ = ("batch", "index", "key", "owner", "result")

    def __init__(self, key: str, owner: bytes, batch: Batch, index: int, result: str) -> None:
        self.key = key
        self.owner = owner
        self.batch = batch
        self.index = index
        self.result = result

    @property
    def known(self) -> bytes | None:
        """What this event was told before it became a dead letter, where it is one that is replayed."""
        return self.batch.updates.get(self.index, {}).get(self.result)

    def tell(self, before: bool) -> bool:
        """Note the answer, so that a dead letter carries it to its replay."""
        self.batch.updates.setdefault(self.index, {})[self.result] = b"1" if before else b""
        return before


class Seeing:
    """`Seen`, opened for one process. `name` tells what is the same about events from a record and its payload."""

    def __init__(
        self, within: float, name: Callable[[Any, Batch, int], str], store: Store, space: str, claims: Claims
    ) -> None:
        self.within = within
        self.name = name
        self.store = store
        self.space = space
        self.claims = claims

    def question(self, payload: Any, batch: Batch, index: int, path: tuple[int, ...]) -> Question:
        """Raises `Reject` where what is compared is missing."""
        way = "".join(f".{step}" for step in path)
        origin = batch.origin(index)
        # What has no position cannot be told from its repeat: every arrival is somebody else.
        who = f"{origin}/{batch.place(index)}" if origin else f"{_PROCESS}/{id(batch)}.{index}.{batch.received}"
        key = self.space + self.name(payload, batch, index)
        return Question(key, f"{who}\0{way}".encode(), batch, index, f"{self.space}{way}")

    async def ask(self, question: Question) -> bool:
        """Claim, and say whether another event was there before. Raises `Wait` while that one is not finished."""
        [answer] = await self.ask_many([question])
        if answer.__class__ is Failure:
            raise answer.error
        return bool(answer)

    async def ask_many(self, questions: Sequence[Question]) -> list[Any]:
        """The same for many events as one request."""
        open = [one for one in questions if one.known is None]
        found = await self.store.settle_many([(one.key, CLAIMED + one.owner, CLAIM) for one in open])
        answers = {id(one): self._answer(one, before) for one, before in zip(open, found, strict=True)}
        return [answers[id(one)] if id(one) in answers else bool(one.known) for one in questions]

    def _answer(self, question: Question, before: bytes | None) -> Any:
        owner = question.owner
        if before is None or before[1:] == owner:
            self.claims.hold(question.batch, question.index, question.key, owner, self.within)
            return question.tell(before=False)
        # Another child of the same event: it is not waited for, as it is this event that must finish.
        same = before[1:].partition(b"\0")[0] == owner.partition(b"\0")[0]
        done = before[:1] == DONE
        if done and question.batch.again and not question.batch.origin(question.index):
            # It may have been done because it was set aside, and nothing else tells that it is the same.
            return question.tell(before=False)
        if same or done:
            return question.tell(before=True)
        return Failure(Wait(f"{PAUSE}s"))


def compared(by: By, schema: Any) -> Callable[[Any, Batch, int], str]:
    """A function that reads what tells two events apart, as text. It raises `Reject` where that is missing."""
    get = getter(by, is_mapping(schema))

    def read(payload: Any, batch: Batch, index: int) -> str:
        try:
            found = get(payload)
        except (AttributeError, KeyError, TypeError) as error:
            raise Reject(f"what tells this event from another is missing: {by} ({error})") from error
        if found is None:
            raise Reject(f"what tells this event from another is null: {by}")
        return text_of(found)

    return read
