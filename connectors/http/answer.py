"""What an HTTP sender is told: the values it waits for, that all is done, or what is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import msgspec
from aiohttp.web import Response

from penstock.connectors.batch import Batch, Refusal
from penstock.connectors.event import Message
from penstock.connectors.header import JSON

LINES = "application/x-ndjson"
_OURS = {"content-length", "transfer-encoding", "connection", "content-encoding", "date", "server"}
_JSON = {"Content-Type": JSON}


def answer(batch: Batch, index: int) -> Response:
    """The answer to a request that held this one event, once it is finished."""
    found = batch.answers.get(index) if batch.answers else None
    if not found:
        return Response(status=202)
    if isinstance(found, Refusal):
        return problem(found.status, found.reason, found.path, found.letter, found.retry_after)
    if len(found) > 1:
        return Response(body=_values(found), headers=_JSON)
    [message] = found
    headers = _JSON
    if message.headers:
        headers = {
            **_JSON,
            **{name.title(): value for name, value in message.headers.items() if name.lower() not in _OURS},
        }
    return Response(body=_value(message), headers=headers)


def answer_lines(batch: Batch, *, late: bool = False) -> Response:
    """The answer to a request that held many events: a line of JSON for each, in order.

    `{"status": 202}`, `{"status": 200, "value": ...}` or a refusal with its status. With `late`, those that are not
    finished say so, and the whole is a 503.
    """
    if not batch.answers and not late:
        body = b'{"status":202}\n' * len(batch)
    else:
        body = b"".join([_line(batch, index, late) for index in range(len(batch))])
    headers = {"Content-Type": LINES}
    if late:
        headers["Retry-After"] = "1"
    return Response(status=503 if late else 200, body=body, headers=headers)


def problem(status: int, reason: str, path: str = "", letter: str = "", retry_after: float | None = None) -> Response:
    """A refusal: `{"error": reason, "path": "$.amount", "letter": id}`, the last two where they are known."""
    headers = _JSON
    if status == 503 or retry_after is not None:
        headers = {**_JSON, "Retry-After": str(max(1, math.ceil(retry_after or 1.0)))}
    return Response(status=status, body=msgspec.json.encode(_said(reason, path, letter)), headers=headers)


def _line(batch: Batch, index: int, late: bool) -> bytes:
    if late and batch.owed[index]:
        return b'{"status":503,"error":"not finished in time; it goes on"}\n'
    found = batch.answers.get(index)
    if not found:
        return b'{"status":202}\n'
    if isinstance(found, Refusal):
        said: dict[str, Any] = {"status": found.status, **_said(found.reason, found.path, found.letter)}
        if found.retry_after is not None:
            said["retry_after"] = found.retry_after
        return msgspec.json.encode(said) + b"\n"
    return b'{"status":200,"value":' + (_value(found[0]) if len(found) == 1 else _values(found)) + b"}\n"


def _said(reason: str, path: str, letter: str) -> dict[str, str]:
    said = {"error": reason}
    if path:
        said["path"] = path
    if letter:
        said["letter"] = letter
    return said


def _value(message: Message) -> bytes:
    return b"null" if message.value is None else message.value


def _values(messages: Iterable[Message]) -> bytes:
    return b"[" + b",".join([_value(message) for message in messages]) + b"]"
