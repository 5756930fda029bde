"""Dead letters: events that could not be processed, kept whole with the reason."""

from __future__ import annotations

import base64
import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from penstock.connectors import Batch, Store
from penstock.errors import ConfigError
from penstock.pipeline.letters.turns import Turns

STREAM = "penstock:{pipeline}:dead"


class Failure(msgspec.Struct, frozen=True):
    """One time that the event of a letter failed: when, in which stage, with what, after how many tries."""

    at: float
    stage: str
    error: str
    reason: str
    where: str
    attempts: int


class Letter(msgspec.Struct, frozen=True):
    """One dead letter: an event that could not be processed, whole, and what is left to do for it.

    - `id`: made of the event's id, the stage and a checksum of the payload: writing a letter twice keeps one, and two
      events that claim one id keep both.
    - `event`: what the ids of the event's actions begin with; `position` is the record's place at its origin.
    - `stage`, `error`, `reason`, `where`, `attempts`, `at`: how it failed the last time; `where` is the user's own line
      that raised. `history` has the times before, the oldest first.
    - `data`: the original payload, base64 where it is not UTF-8 (`encoding`), and `none` for a tombstone. `wrapped`
      says that it is a CloudEvents envelope. `edited` is what somebody put in its place.
    - `ce_id`, `source`, `type`, `subject`, `time`: the event's CloudEvents attributes. `captures` is what the braces of
      the source's address caught.
    - `entry`: the source stage that it came in by, `partition` where it came from.
    - `root`, `path`: the stage, and the numbers of the children, where it failed first. What does not follow from there
      is done, or has a letter of its own. Where a sink refused one action, `action` is its id and `to` the sink.
    - `done`: the actions of the event that were sent although this stage failed. `updates`: what its updates of state
      came to, by stage and path (`Batch.updates`): they are not made again.
    - `informed`: its sender was told, and will have dealt with it.
    """

    id: str
    event: str
    stage: str
    error: str
    reason: str
    where: str
    attempts: int
    at: float
    topic: str
    position: str
    key: str
    headers: dict[str, str]
    data: str
    encoding: str = "utf-8"
    source: str = ""
    type: str = ""
    time: float = 0.0
    informed: bool = False
    done: tuple[str, ...] = ()
    ce_id: str = ""
    subject: str = ""
    entry: str = ""
    partition: str = ""
    captures: dict[str, str] = {}
    wrapped: bool = False
    root: str = ""
    path: tuple[int, ...] = ()
    action: str = ""
    to: str = ""
    edited: str | None = None
    edited_encoding: str = "utf-8"
    history: tuple[Failure, ...] = ()
    updates: dict[str, bytes] = {}

    @property
    def original(self) -> bytes:
        """The bytes as they came; empty for a tombstone."""
        return _bytes(self.data, self.encoding)

    @property
    def payload(self) -> bytes:
        """The bytes as they are now: edited, or as they came."""
        return self.original if self.edited is None else _bytes(self.edited, self.edited_encoding)

    @property
    def stage_first(self) -> str:
        """The stage where it failed first: what follows from there is left to do."""
        return self.root or self.stage

    @property
    def failure(self) -> Failure:
        """How it failed the last time."""
        return Failure(self.at, self.stage, self.error, self.reason, self.where, self.attempts)

    def failed(self, again: Failure, done: Iterable[str] = (), updates: Mapping[str, bytes] | None = None) -> Letter:
        """This letter after its event has failed once more, and these actions were sent and updates made."""
        return msgspec.structs.replace(
            self,
            stage=again.stage,
            error=again.error,
            reason=again.reason,
            where=again.where,
            attempts=again.attempts,
            at=again.at,
            root=self.stage_first,
            done=tuple(dict.fromkeys((*self.done, *done))),
            history=(*self.history, self.failure),
            updates={**self.updates, **(updates or {})},
        )

    def amended(self, payload: bytes) -> Letter:
        """This letter with another payload, the original kept."""
        text, encoding = as_text(payload)
        return msgspec.structs.replace(self, edited=text, edited_encoding=encoding)


def line(pipeline: str, letter: Letter) -> bytes:
    """A letter as a line of JSON with everything in it, as exports have it."""
    return msgspec.json.encode({"pipeline": pipeline, **msgspec.to_builtins(letter)}) + b"\n"


def _bytes(text: str, encoding: str) -> bytes:
    return base64.b64decode(text) if encoding == "base64" else text.encode()


def as_text(data: Any) -> tuple[str, str]:
    """Bytes as text that JSON can carry, and how they are encoded in it.

    >>> as_text(b"caf\\xc3\\xa9"), as_text(b"\\xff")
    (('café', 'utf-8'), ('/w==', 'base64'))
    """
    if data is None:
        return "", "none"
    if not isinstance(data, bytes):
        return msgspec.json.encode(data, enc_hook=repr).decode(), "utf-8"
    try:
        return data.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(data).decode(), "base64"


def users_line(error: BaseException) -> str:
    """The innermost line of a traceback that is in none of this package's own files, nor generated by it."""
    found, traceback = None, error.__traceback__
    while traceback is not None:
        if not _is_own(traceback.tb_frame.f_code.co_filename):
            found = traceback
        traceback = traceback.tb_next
    return f"{found.tb_frame.f_code.co_filename}:{found.tb_lineno}" if found is not None else ""


@lru_cache(maxsize=1024)
def _is_own(file: str) -> bool:
    packages = ("penstock.connectors", "penstock.models", "penstock.stages", "penstock.pipeline")
    folders = [folder for name in packages if name in sys.modules for folder in sys.modules[name].__path__]
    return file.startswith(("<penstock", *(f"{folder}{os.sep}" for folder in folders)))


class Letters:
    """The dead letters of one pipeline, in its store.

    `by_stage` counts those that this process wrote; `known` and `size` are how many there were at the last look, and
    about how many bytes. While it is `full`, nothing new is read, and `problem` says why.
    """

    def __init__(self, store: Store, pipeline: str) -> None:
        self.store = store
        self.pipeline = pipeline
        self.by_stage: dict[str, int] = {}
        self.known = 0
        self.size = 0
        self.full = False
        self._encode = msgspec.json.Encoder()
        self._turns = Turns()

    @property
    def room(self) -> float:
        """How many more there may be."""
        return math.inf

    @property
    def problem(self) -> str:
        return ""

    @property
    def written(self) -> int:
        """How many this process wrote."""
        return sum(self.by_stage.values())

    @property
    def stream(self) -> str:
        return STREAM.format(pipeline=self.pipeline)

    async def write(self, letter: Letter, batch: Batch | None = None) -> Letter:
        """Keep a letter of an event of `batch`, and return it as it is kept, once the store has it.

        Raises `Unavailable` in an outage.
        """
        try:
            encoded = self._encode.encode(letter)
        except UnicodeEncodeError:  # half a surrogate, which a transport or an exception's text may hold
            encoded = json.dumps(msgspec.to_builtins(letter), ensure_ascii=False).encode("utf-8", "replace")
            letter = msgspec.json.decode(encoded, type=Letter)
        await self._turns.take(lambda: self.store.append(self.stream, {"letter": encoded}, id=letter.id))
        self.counted(letter)
        return letter

    def counted(self, letter: Letter) -> None:
        """One more was written."""
        self.by_stage[letter.stage] = self.by_stage.get(letter.stage, 0) + 1

    async def amend(self, letter: Letter) -> bool:
        """Put a letter in the place of the one with its id; False where that is gone."""
        return await self.store.amend(self.stream, letter.id, {"letter": self._encode.encode(letter)})

    async def remove(self, ids: Sequence[str]) -> int:
        """Take letters out; how many there were."""
        return await self.store.remove(self.stream, ids)

    async def read(self, after: str = "", count: int = 100) -> list[tuple[str, Letter]]:
        """Letters in the order of their writing, from the one that follows the place `after`.

        Raises `ConfigError` where one was written by another release.
        """
        entries = await self.store.entries(self.stream, after=after, count=count)
        try:
            return [(place, msgspec.json.decode(entry["letter"], type=Letter)) for place, entry in entries]
        except msgspec.DecodeError as error:
            raise ConfigError(f"the letters of {self.pipeline} are of another release: {error}") from error

    async def open(self) -> None:
        """See what is there. Raises `Unavailable` in an outage."""
        await self.measure()

    async def close(self) -> None:
        """Nothing to leave: the store is somebody else's."""

    async def measure(self) -> None:
        """Note how many letters there are, and how large they are. Raises `Unavailable` in an outage."""
        self.known = await self.count()
        self.size = await self.store.size(self.stream)

    async def count(self) -> int:
        return await self.store.length(self.stream)
