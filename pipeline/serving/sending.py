"""Sending events by hand: documents out of a file or pipe, into any sink."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import chain, islice
from typing import IO, Any

import msgspec

from penstock.connectors import Endpoint, Kafka, Message
from penstock.errors import ConfigError, PenstockError, Unavailable
from penstock.pipeline.serving.local import Local
from penstock.pipeline.serving.presence import absent
from penstock.pipeline.serving.progress import Bar

AT_ONCE = 256
UNSETTLED = 2048
"""Messages that may wait for their confirmation before more is read."""


def documents(stream: IO[bytes], *, raw: bool = False) -> Iterator[bytes]:
    """Each event's bytes: a JSON line, an element of a JSON array, or the one document there is.

    Lines are yielded as they come. Raises `ConfigError` with the line's number where one is not JSON.

    >>> import io
    >>> list(documents(io.BytesIO(b'{"a": 1}\\n\\n{"a": 2}\\n')))
    [b'{"a": 1}', b'{"a": 2}']
    >>> list(documents(io.BytesIO(b'[\\n  {"a": 1},\\n  {"a": 2}\\n]\\n')))
    [b'{"a":1}', b'{"a":2}']
    """
    lines = ((number, line.strip()) for number, line in enumerate(stream, 1))
    lines = ((number, line) for number, line in lines if line)
    if raw:
        yield from (line for _, line in lines)
        return
    first = next(lines, None)
    if first is None:
        return
    if not _is_json(first[1]):
        yield from _document(b"\n".join([first[1], *(line for _, line in lines)]), first[0])
        return
    for number, line in chain([first], lines):
        if not _is_json(line):
            raise ConfigError(
                f"line {number} is not JSON: {line[:60].decode(errors='replace')} (--raw sends it as it is)"
            )
        yield from _elements(line) if line.startswith(b"[") else (line,)


def _document(text: bytes, line: int) -> Iterator[bytes]:
    if not _is_json(text):
        raise ConfigError(f"line {line} begins no JSON document (--raw sends lines as they are)")
    yield from _elements(text) if text.startswith(b"[") else (text,)


def _elements(text: bytes) -> Iterator[bytes]:
    for element in msgspec.json.decode(text):
        yield msgspec.json.encode(element)


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except msgspec.DecodeError:
        return False
    return True


class Sender:
    """Sends documents to one address and waits for each to be confirmed."""

    def __init__(self, to: str, *, key: str = "", size: int = 0, create: bool = False) -> None:
        """`create`: whether the topic may be one that is not there."""
        self.to = to
        self.create = create
        self.key = key
        self.size = size
        self.sent = self.confirmed = 0
        self.refused: list[str] = []
        self._again: list[Message] = []
        self._changed = asyncio.Event()
        self._said = False

    async def run(self, documents: Iterator[bytes]) -> int:
        """Send all of them; how many were refused. Raises `ConfigError` where the address cannot be opened."""
        local = Local(self.to)
        try:
            await self._send(local, documents)
        finally:
            await local.close()
        print(f"{self.confirmed:,} {_events(self.confirmed)} sent to {self.to}", file=sys.stderr)
        for reason, count in _counted(self.refused):
            print(f"{count:,} {_events(count)} refused: {reason}", file=sys.stderr)
        return len(self.refused)

    async def _send(self, local: Local, documents: Iterator[bytes]) -> None:
        endpoint = local.endpoint(self.to)
        topic = endpoint.address if "//" in endpoint.address else endpoint.address.partition(":")[2]
        sink = endpoint.sink(local.site)
        try:
            if not self.create:
                await self._find(endpoint, local)
            await sink.open(self._report)
        except Unavailable as error:
            raise PenstockError(f"{self.to} cannot be reached: {error}") from error
        with Bar("sending", self.size) as bar:
            async for some in _chunks(documents, AT_ONCE if self.size else 1):
                sink.send([self._message(topic, document) for document in some])
                self.sent += len(some)
                bar.add(sum(map(len, some)) + len(some), f"{self.sent:,} events")
                await self._settled(sink, UNSETTLED)
            await self._settled(sink, 0)
        await sink.close()

    async def _find(self, endpoint: Endpoint, local: Local) -> None:
        """See that somebody may read it. Raises `ConfigError` or `Unavailable`."""
        missing = await absent(endpoint, local.site)
        if missing and isinstance(endpoint, Kafka):
            raise ConfigError(f"{self.to}: {missing} (--create sends to it all the same)")
        if missing:  # a stream keeps what comes for who will read it
            print(f"note: {missing}", file=sys.stderr)

    def _message(self, topic: str, document: bytes) -> Message:
        key = _key(document, self.key) if self.key else None
        return Message(topic, document, key=key, id=str(uuid.uuid4()), source="/penstock/send", type="penstock.sent")

    def _report(self, messages: Sequence[Message], error: BaseException | None) -> None:
        if error is None:
            self.confirmed += len(messages)
        elif isinstance(error, Unavailable):
            if not self._said:
                self._said = True
                print(f"waiting: {error}", file=sys.stderr)
            self._again += messages
        else:
            self.refused += [str(error)] * len(messages)
        self._changed.set()

    async def _settled(self, sink: Any, most: int) -> None:
        """Wait until at most so many messages are unconfirmed; what met an outage is sent again."""
        while self.sent - self.confirmed - len(self.refused) > most:
            self._changed.clear()
            if self._again:
                await asyncio.sleep(0.5)
                again, self._again = self._again, []
                sink.send(again)
            elif not most:
                await sink.flush()
            if self.sent - self.confirmed - len(self.refused) > most and not self._again:
                await self._changed.wait()


async def _chunks(documents: Iterator[bytes], most: int) -> AsyncIterator[list[bytes]]:
    """Documents as they can be read, in lists, without holding the loop while a pipe is silent."""
    while some := await asyncio.to_thread(lambda: list(islice(documents, most))):
        yield some


def _key(document: bytes, field: str) -> bytes:
    found = msgspec.json.decode(document)
    value = found.get(field) if isinstance(found, dict) else None
    if value is None:
        raise ConfigError(f"--key {field}: this event has no such field: {document[:80].decode(errors='replace')}")
    return str(value).encode()


def _events(count: int) -> str:
    return "event" if count == 1 else "events"


def _counted(reasons: Sequence[str]) -> list[tuple[str, int]]:
    return [(reason, reasons.count(reason)) for reason in dict.fromkeys(reasons)]
